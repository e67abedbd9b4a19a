// out[c] = scale · input[c], one f32 operation on bits     the steps of a layer's sums
//
// Steps and products count as the nearest positive normal number. One invocation owns one channel.
//
// Meaning: reference/fake_requantize.rs. Candidates: kernels/train/fake_requantize.rs. Second half: train/requant_params.wgsl.
//# import math/float_bits
//# import math/linear_index
//# constants GROUP_X

struct Params {
    channels: u32,
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scale: array<u32>;                  // one f32
@group(0) @binding(2) var<storage, read> input: array<u32>;                  // f32 bits
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let c = linear_group(group, groups) * GROUP_X + thread;
    if (c >= params.channels) {
        return;
    }
    output[c] = f32_positive(f32_multiply(f32_positive(scale[0]), f32_positive(input[c])));
}
