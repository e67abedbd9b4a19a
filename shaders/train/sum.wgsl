// partial[segment, chunk] = Σ input[i] of a chunk of a segment     first half of sums
//
// A workgroup owns one chunk. Sums are f32, first per invocation, then as a tree.
//
// Meaning: reference/sum.rs. Candidates: kernels/train/sum.rs. Second half: train/sum_partials.wgsl.
//# import calibrate/members
//# import train/reduce_sums
//# import math/linear_index
//# constants GROUP_X

@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(6) var<storage, read_write> partial: array<vec2<f32>>;

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
    var sum = 0.0;
    for (var member = chunk.begin + thread; member < chunk.end; member += GROUP_X) {
        sum += input[chunk.base + member_offset(member)];
    }
    let all = reduce_sums(vec2<f32>(sum, 0.0), thread);
    if (thread == 0u) {
        partial[index] = all;
    }
}
