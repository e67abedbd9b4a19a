// out[i] = fake_quantized(input[i])     float32 numbers rounded to the grid of a quantization
//
// `fake_quantized` of train/grid_*.wgsl rounds a number to the grid, whose parameters are at an index. One invocation owns one element.
//
// Meaning: reference/fake_quantize.rs. Candidates: kernels/train/fake_quantize.rs.
//# import train/fake_params
//# import math/linear_index
//# needs fake_quantized: train/grid_*
//# constants GROUP_X

@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
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
    output[i] = fake_quantized(input[i], grid_index(i));
}
