// gradient[b, v, u, c] = Σ output[b, y, x, o] · weights[o, i, j, c] over y·s + i − top = v, x·s + j − left = u
// gradient of the image
//
// One invocation owns a tile of PIXELS pixels that follow each other in [b, v, u] by BLOCK channels of one group.
//
// Meaning: reference/float_conv.rs. Candidates: kernels/train/float_conv.rs.
//# import train/float_conv_params
//# import math/linear_index
//# constants BLOCK, GROUP_X, PIXELS

@group(0) @binding(1) var<storage, read> output: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(6) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.count) {
        return;
    }
    let first = index % params.blocks * BLOCK;               // first channel of the block
    let start = index / params.blocks * PIXELS;              // first pixel of the tile
    let pixels = params.image.x * params.image.y * params.image.z;
    let taps = params.weights.y * params.weights.z + opaque_zero(groups);
    let channels = params.weights.w;
    let in_group = first % channels;
    let outputs = params.outputs_per_group + opaque_zero(groups);
    let base = first / channels * outputs;                   // first output of the group
    var sums: array<array<f32, BLOCK>, PIXELS>;
    var place: array<vec3<i32>, PIXELS>;                     // first row of the output's image, padded row, padded column
    for (var p = 0u; p < PIXELS; p += 1u) {
        let pixel = min(start + p, pixels - 1u);
        let u = pixel % params.image.z;
        let v = pixel / params.image.z % params.image.y;
        place[p] = vec3<i32>(
            i32(pixel / (params.image.z * params.image.y) * params.output.y),
            i32(v + params.windows.z),
            i32(u + params.windows.w),
        );
        for (var c = 0u; c < BLOCK; c += 1u) {
            sums[p][c] = 0.0;
        }
    }
    let stride = vec2<i32>(params.windows.xy);
    for (var tap = 0u; tap < taps; tap += 1u) {
        let i = i32(tap / params.weights.z);
        let j = i32(tap % params.weights.z);
        var inside: array<bool, PIXELS>;
        var at: array<u32, PIXELS>;
        for (var p = 0u; p < PIXELS; p += 1u) {
            let down = place[p].y - i;
            let across = place[p].z - j;
            let y = down / stride.x;
            let x = across / stride.y;
            let is_inside = down >= 0 && across >= 0 && y * stride.x == down && x * stride.y == across
                && y < i32(params.output.y) && x < i32(params.output.z);
            inside[p] = is_inside;
            at[p] = select(0u, (u32(place[p].x + y) * params.output.z + u32(x)) * params.output.w + base, is_inside);
        }
        for (var o = 0u; o < outputs; o += 1u) {
            var w: array<f32, BLOCK>;
            for (var c = 0u; c < BLOCK; c += 1u) {
                w[c] = weights[((base + o) * taps + tap) * channels + in_group + c];
            }
            for (var p = 0u; p < PIXELS; p += 1u) {
                let g = select(0.0, output[at[p] + o], inside[p]);
                for (var c = 0u; c < BLOCK; c += 1u) {
                    sums[p][c] += g * w[c];
                }
            }
        }
    }
    for (var p = 0u; p < PIXELS; p += 1u) {
        if (start + p < pixels) {
            for (var c = 0u; c < BLOCK; c += 1u) {
                result[(start + p) * params.image.w + first + c] = sums[p][c];
            }
        }
    }
}
