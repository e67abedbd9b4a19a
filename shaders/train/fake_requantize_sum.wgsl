// partial[chunk] = Σ gradient[i] · share(sums[i]) of a chunk     first half of the gradient of a layer's output step
//
// A workgroup owns one chunk; f32 sums, first per invocation, then as a tree.
//
// Meaning: reference/fake_requantize.rs. Candidates: kernels/train/fake_requantize.rs. Second half: train/sum_partials.wgsl.
//# import train/stage_steps
//# import train/reduce_sums
//# import math/linear_index
//# constants GROUP_X

struct Params {
    channels: u32,
    elements: u32,
    low: i32,             // least and greatest code
    high: i32,
    chunk: u32,           // elements of a chunk
    chunks: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<u32>;                   // f32 bits of whole numbers
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<vec4<u32>>;            // written by train/requant_params.wgsl
@group(0) @binding(6) var<storage, read_write> partial: array<vec2<f32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups);
    if (index >= params.chunks) {
        return;
    }
    let end = min((index + 1u) * params.chunk, params.elements);
    var sum = 0.0;
    for (var i = index * params.chunk + thread; i < end; i += GROUP_X) {
        sum += gradient[i] * step_gradient(stage_steps(sums[i], table[i % params.channels]));
    }
    let all = reduce_sums(vec2<f32>(sum, 0.0), thread);
    if (thread == 0u) {
        partial[index] = all;
    }
}
