// output = lhs ∘ rhs     real numbers, elementwise, broadcast
//
// One invocation owns one element.
//
// Meaning: reference/float_binary.rs. Candidates: kernels/elementwise/float_binary.rs.
//# import elementwise/float_combine
//# import elementwise/operand_rows
//# import math/linear_index
//# constants GROUP_X

struct Params {
    dimension: array<vec4<u32>, 7>,   // all but the last, innermost first: extent, lhs stride, rhs stride (in rows), -
    dimensions: u32,
    n: u32,                   // columns: the length of the last dimension
    lhs_row: u32,             // elements of a row
    rhs_row: u32,
    lhs_step: u32,            // 1, or 0 if the last dimension is repeated
    rhs_step: u32,
    elements: u32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lhs: array<u32>;
@group(0) @binding(2) var<storage, read> rhs: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.elements) {
        return;
    }
    let rows = operand_rows(index / params.n, groups);
    let column = index % params.n;
    let a = lhs[rows.x * params.lhs_row + column * params.lhs_step];
    let b = rhs[rows.y * params.rhs_row + column * params.rhs_step];
    output[index] = combine(a, b);
}
