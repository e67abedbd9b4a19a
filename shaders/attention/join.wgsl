// out[t, h, i] = Σ_s e^(most_s − most) sum_s[i] · factor     the sums of slices of the cache, added in their order
//
// One invocation owns one element.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import attention/partials
//# import math/linear_index
//# needs share_factor: attention/sinks, attention/sinks_none
//# constants GROUP_X

@group(0) @binding(6) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= u32(params.tokens) * params.heads * params.value_d) {
        return;
    }
    let place = index / params.value_d;
    let slices = params.slices + opaque_zero(groups);
    let most = greatest_score(place, slices);
    let sums = joined(place, index % params.value_d, most, slices);
    output[index] = sums.y * share_factor(most, sums.x, place % params.heads);
}
