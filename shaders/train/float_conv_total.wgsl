// gradient[i] = scale · Σ partial[slice][i], in the order of slices     second half of the gradient of the weights
//
// Meaning: reference/float_conv.rs. Candidates: kernels/train/float_conv.rs. First half: train/float_conv_weights.wgsl.
//# import math/linear_index
//# constants GROUP_X

struct Params {
    slices: u32,
    count: u32,           // elements of the weights
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;                  // one number
@group(0) @binding(6) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = linear_group(group, groups) * GROUP_X + thread;
    if (i >= params.count) {
        return;
    }
    var sum = 0.0;
    for (var slice = 0u; slice < params.slices + opaque_zero(groups); slice += 1u) {
        sum += partial[slice * params.count + i];
    }
    result[i] = sum * scale[0];
}
