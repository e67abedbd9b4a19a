// out[t, h, i] = Σ_s e^(most_s − most) sum_s[i] · factor     the sums of slices of the cache, added in their order
//
// One invocation owns one element.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import math/linear_index
//# needs share_factor: attention/sinks, attention/sinks_none
//# constants GROUP_X, VALUE_QUADS

@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    let rows = u32(params.tokens) * params.heads;
    if (index >= rows * params.value_d) {
        return;
    }
    let place = index / params.value_d;
    let slices = params.slices + opaque_zero(groups);
    let size = 4u * VALUE_QUADS + 2u;
    var most = LEAST_SCORE;
    for (var slice = 0u; slice < slices; slice += 1u) {
        most = max(most, partials[(slice * rows + place) * size]);
    }
    var total = 0.0;
    var sum = 0.0;
    for (var slice = 0u; slice < slices; slice += 1u) {
        let partial = (slice * rows + place) * size;
        let factor = exp(partials[partial] - most);
        total += factor * partials[partial + 1u];
        sum += factor * partials[partial + 2u + index % params.value_d];
    }
    output[index] = sum * share_factor(most, total, place % params.heads);
}
