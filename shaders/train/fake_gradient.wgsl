// dx[i] = dy[i] if the gradient of a grid passes input[i], otherwise 0
//
// `passes` of train/grid_*.wgsl decides. One invocation owns one element.
//
// Meaning: reference/fake_quantize.rs. Candidates: kernels/train/fake_quantize.rs.
//# import train/fake_params
//# import math/linear_index
//# needs passes: train/grid_*
//# constants GROUP_X

@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(2) var<storage, read> gradient: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = linear_group(group, groups) * GROUP_X + thread;
    if (i >= params.elements) {
        return;
    }
    output[i] = select(0u, gradient[i], passes(input[i], grid_index(i)));
}
