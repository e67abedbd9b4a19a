// partial[slice][o, i, j, c] = Σ image[b, y·s + i − top, x·s + j − left, c] · output[b, y, x, o] over a slice of pixels [b, y, x]
// first half of the gradient of the weights
//
// One invocation owns OUTPUTS outputs o by BLOCK channels c of one tap and one group, in one slice.
//
// Meaning: reference/float_conv.rs. Candidates: kernels/train/float_conv.rs. Second half: train/float_conv_total.wgsl.
//# import train/float_conv_params
//# import math/linear_index
//# constants BLOCK, GROUP_X, OUTPUTS

@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read> output: array<f32>;
@group(0) @binding(6) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.count) {
        return;
    }
    let channels = params.weights.w;
    let taps = params.weights.y * params.weights.z;
    let c = index % params.blocks * BLOCK;
    index = index / params.blocks;
    let tap = index % taps;
    index = index / taps;
    let bands = params.weights.x / OUTPUTS;
    let o = index % bands * OUTPUTS;
    let slice = index / bands;
    let i = i32(tap / params.weights.z) - i32(params.windows.z);
    let j = i32(tap % params.weights.z) - i32(params.windows.w);
    let channel = o / params.outputs_per_group * channels + c;
    let pixels = params.output.x * params.output.y * params.output.z;
    let end = min((slice + 1u) * params.slice, pixels);
    var sums: array<array<f32, BLOCK>, OUTPUTS>;
    for (var p = 0u; p < OUTPUTS; p += 1u) {
        for (var q = 0u; q < BLOCK; q += 1u) {
            sums[p][q] = 0.0;
        }
    }
    for (var pixel = slice * params.slice; pixel < end; pixel += 1u) {
        let x = pixel % params.output.z;
        let row = pixel / params.output.z;
        let v = i32(row % params.output.y * params.windows.x) + i;
        let u = i32(x * params.windows.y) + j;
        if (v >= 0 && v < i32(params.image.y) && u >= 0 && u < i32(params.image.z)) {
            let at = ((row / params.output.y * params.image.y + u32(v)) * params.image.z + u32(u)) * params.image.w + channel;
            var values: array<f32, BLOCK>;
            for (var q = 0u; q < BLOCK; q += 1u) {
                values[q] = image[at + q];
            }
            for (var p = 0u; p < OUTPUTS; p += 1u) {
                let g = output[pixel * params.output.w + o + p];
                for (var q = 0u; q < BLOCK; q += 1u) {
                    sums[p][q] += g * values[q];
                }
            }
        }
    }
    let weights = params.weights.x * taps * channels;
    for (var p = 0u; p < OUTPUTS; p += 1u) {
        for (var q = 0u; q < BLOCK; q += 1u) {
            partial[slice * weights + ((o + p) * taps + tap) * channels + c + q] = sums[p][q];
        }
    }
}
