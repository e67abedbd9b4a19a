// output[b, y, x, o] = Σ image[b, y·s + i − top, x·s + j − left, c] · weights[o, i, j, c]     forward pass
//
// One invocation owns a tile of PIXELS outputs that follow each other in [b, y, x] by BLOCK outputs o of one group:
//
//              o   o+1 … o+BLOCK-1
//     pixel    Σ    Σ       Σ              PIXELS · BLOCK sums in registers, PIXELS + BLOCK loads for as many products
//     pixel+1  Σ    Σ       Σ
//
// Meaning: reference/float_conv.rs. Candidates: kernels/train/float_conv.rs.
//# import train/float_conv_params
//# import math/linear_index
//# constants BLOCK, GROUP_X, PIXELS

@group(0) @binding(1) var<storage, read> image: array<f32>;
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
    let first = index % params.blocks * BLOCK;               // first output of the block
    let start = index / params.blocks * PIXELS;              // first pixel of the tile
    let pixels = params.output.x * params.output.y * params.output.z;
    let taps = params.weights.y * params.weights.z + opaque_zero(groups);
    let channels = params.weights.w + opaque_zero(groups);
    let base = first / params.outputs_per_group * channels;  // first channel of the group
    var sums: array<array<f32, BLOCK>, PIXELS>;
    var corner: array<vec3<i32>, PIXELS>;                    // image, row, column of the window's corner
    for (var p = 0u; p < PIXELS; p += 1u) {
        let pixel = min(start + p, pixels - 1u);
        let x = pixel % params.output.z;
        let y = pixel / params.output.z % params.output.y;
        corner[p] = vec3<i32>(
            i32(pixel / (params.output.z * params.output.y) * params.image.y),
            i32(y * params.windows.x) - i32(params.windows.z),
            i32(x * params.windows.y) - i32(params.windows.w),
        );
        for (var o = 0u; o < BLOCK; o += 1u) {
            sums[p][o] = 0.0;
        }
    }
    for (var tap = 0u; tap < taps; tap += 1u) {
        let i = i32(tap / params.weights.z);
        let j = i32(tap % params.weights.z);
        var inside: array<bool, PIXELS>;
        var at: array<u32, PIXELS>;
        for (var p = 0u; p < PIXELS; p += 1u) {
            let y = corner[p].y + i;
            let x = corner[p].z + j;
            let is_inside = y >= 0 && y < i32(params.image.y) && x >= 0 && x < i32(params.image.z);
            inside[p] = is_inside;
            at[p] = select(0u, (u32(corner[p].x + y) * params.image.z + u32(x)) * params.image.w + base, is_inside);
        }
        for (var c = 0u; c < channels; c += 1u) {
            var w: array<f32, BLOCK>;
            for (var o = 0u; o < BLOCK; o += 1u) {
                w[o] = weights[((first + o) * taps + tap) * channels + c];
            }
            for (var p = 0u; p < PIXELS; p += 1u) {
                let v = select(0.0, image[at[p] + c], inside[p]);
                for (var o = 0u; o < BLOCK; o += 1u) {
                    sums[p][o] += v * w[o];
                }
            }
        }
    }
    for (var p = 0u; p < PIXELS; p += 1u) {
        if (start + p < pixels) {
            for (var o = 0u; o < BLOCK; o += 1u) {
                result[(start + p) * params.output.w + first + o] = sums[p][o];
            }
        }
    }
}
