// table[c] = (round_ties_even(bias / (x · w)), (x · w) / y, x · w, 0) of a channel     constants of a fake-requantized layer
//
// Each step is one f32 operation on bits. Steps and quotients count as the nearest positive normal number.
// train/scale_channels.wgsl writes x · w to scratch memory; two launches keep each within four storage buffers. One invocation owns
// one channel.
//
// Meaning: reference/fake_requantize.rs. Candidates: kernels/train/fake_requantize.rs.
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
@group(0) @binding(1) var<storage, read> step: array<u32>;                   // y, one f32
@group(0) @binding(2) var<storage, read> bias: array<u32>;                   // f32 bits
@group(0) @binding(3) var<storage, read> combined: array<u32>;
@group(0) @binding(6) var<storage, read_write> table: array<vec4<u32>>;

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
    let product = combined[c];
    let whole = f32_round_to_i32(f32_divide(f32_finite(bias[c]), product));
    let multiplier = f32_positive(f32_divide(product, f32_positive(step[0])));
    table[c] = vec4<u32>(bitcast<u32>(whole), multiplier, product, 0u);
}
