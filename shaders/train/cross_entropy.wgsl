// gradient[r, c] = (softmax(logits[r])[c] − (c = label[r])) / rows
//
// One invocation owns one row. Rows whose label is out of range get zeros.
//
// Meaning: reference/cross_entropy.rs. Candidates: kernels/train/cross_entropy.rs.
//# import math/linear_index
//# constants GROUP_X

struct Params {
    rows: u32,
    classes: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(6) var<storage, read_write> gradient: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = linear_group(group, groups) * GROUP_X + thread;
    if (row >= params.rows) {
        return;
    }
    let classes = params.classes + opaque_zero(groups);
    let at = row * classes;
    let label = labels[row];
    let known = label >= 0 && u32(max(label, 0)) < classes;
    var most = logits[at];
    for (var c = 1u; c < classes; c += 1u) {
        most = max(most, logits[at + c]);
    }
    var total = 0.0;
    for (var c = 0u; c < classes; c += 1u) {
        total += exp(logits[at + c] - most);
    }
    for (var c = 0u; c < classes; c += 1u) {
        let softmax = exp(logits[at + c] - most) / total;
        let value = (softmax - select(0.0, 1.0, i32(c) == label)) / f32(params.rows);
        gradient[at + c] = select(0.0, value, known);
    }
}
