// partial[segment, chunk] = Σ gradient[i] · parameter_gradients(input[i]) of a chunk of a segment
// first half of the gradient of a grid's parameters
//
// `parameter_gradients` of train/grid_*.wgsl are the derivatives of the output by the grid's parameters, at most two. A workgroup owns one
// chunk. Sums are f32, first per invocation, then as a tree.
//
// Meaning: reference/fake_quantize.rs. Candidates: kernels/train/fake_quantize.rs. Second half: train/sum_partials.wgsl.
//# import calibrate/members
//# import train/reduce_sums
//# import math/linear_index
//# needs parameter_gradients: train/grid_range, train/grid_step
//# constants GROUP_X

@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
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
    var sum = vec2<f32>();
    for (var member = chunk.begin + thread; member < chunk.end; member += GROUP_X) {
        let i = chunk.base + member_offset(member);
        sum += gradient[i] * parameter_gradients(input[i], chunk.segment);
    }
    let all = reduce_sums(sum, thread);
    if (thread == 0u) {
        partial[index] = all;
    }
}
