// As attention/join.wgsl, but the sums are quantized: an invocation owns a group of a query and head.
//
// Meaning: reference/fused.rs. Candidates: kernels/attention/attention.rs.
//# import attention/group_codes
//# import attention/params
//# import attention/partials
//# import math/linear_index
//# needs share_factor: attention/sinks, attention/sinks_none
//# constants CODE_QUADS, GROUP_X, VALUE_QUADS

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    let of_head = VALUE_QUADS / CODE_QUADS;
    if (index >= u32(params.tokens) * params.heads * of_head) {
        return;
    }
    let place = index / of_head;
    let slices = params.slices + opaque_zero(groups);
    let most = greatest_score(place, slices);
    var numbers: array<vec4<f32>, CODE_QUADS>;
    for (var i = 0u; i < CODE_QUADS; i += 1u) {
        var quad = vec4<f32>();
        for (var j = 0u; j < 4u; j += 1u) {
            let sums = joined(place, 4u * (CODE_QUADS * (index % of_head) + i) + j, most, slices);
            quad[j] = sums.y * share_factor(most, sums.x, place % params.heads);
        }
        numbers[i] = quad;
    }
    store_group(place, index % of_head, numbers);
}
