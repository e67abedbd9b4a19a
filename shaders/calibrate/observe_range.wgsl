// partial[segment, chunk] = (least key, greatest key, numbers, numbers left out) of a chunk of a segment
// first half of an observation
//
// Numbers are compared as ordered integer keys: the result does not depend on the order of reduction. NaN and infinity are left
// out and counted. A workgroup owns one chunk.
//
// Meaning: reference/observe.rs. Candidates: kernels/calibrate/observe.rs. Second half: calibrate/observe_fold.wgsl or
// calibrate/observe_level.wgsl.
//# import calibrate/members
//# import calibrate/extremes
//# import math/linear_index
//# constants GROUP_X

@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(6) var<storage, read_write> partial: array<vec4<u32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups);
    if (index >= params.partials) {
        return;
    }
    let chunk = chunk_members(index);
    var mine = NOTHING;
    for (var member = chunk.begin + thread; member < chunk.end; member += GROUP_X) {
        let value = input[chunk.base + member_offset(member)];
        let key = f32_order(value);
        let finite = (value & ~F32_SIGN) < F32_INFINITY;
        mine = both_extremes(mine, select(vec4<u32>(NOTHING.xyz, 1u), vec4<u32>(key, key, 1u, 0u), finite));
    }
    let all = reduce_extremes(mine, thread);
    if (thread == 0u) {
        partial[index] = all;
    }
}
