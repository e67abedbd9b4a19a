// out[segment] = scale · Σ partial[segment, chunk], in the order of chunks; WIDTH (1 or 2) numbers of each
//
// One invocation owns one segment.
//
// Meaning: reference/fake_quantize.rs and others. Candidates: kernels/train/fake_quantize.rs and others.
//# import math/linear_index
//# constants GROUP_X, WIDTH

struct Params {
    scale: vec4<f32>,     // in all lanes
    chunks: u32,          // partial sums of a segment
    segments: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let segment = linear_group(group, groups) * GROUP_X + thread;
    if (segment >= params.segments) {
        return;
    }
    var sum = vec2<f32>();
    for (var i = 0u; i < params.chunks + opaque_zero(groups); i += 1u) {
        sum += partial[segment * params.chunks + i];
    }
    sum = sum * params.scale.xy;
    output[segment * WIDTH] = sum.x;
    if (WIDTH == 2u) {
        output[segment * WIDTH + 1u] = sum.y;
    }
}
