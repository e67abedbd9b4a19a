// out[r, c] = requantization of a layer's sum     in float32, with the bits of the integer layer
//
// `requantized` of train/requantized_*.wgsl selects the result. One invocation owns one element.
//
// Meaning: reference/fake_requantize.rs. Candidates: kernels/train/fake_requantize.rs.
//# import math/linear_index
//# needs requantized: train/requantized_*
//# constants GROUP_X

struct Params {
    channels: u32,
    elements: u32,
    low: i32,             // least and greatest code
    high: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<u32>;                   // f32 bits of whole numbers
@group(0) @binding(3) var<storage, read> table: array<vec4<u32>>;            // written by train/requant_params.wgsl
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
    output[i] = requantized(i, sums[i], table[i % params.channels]);
}
