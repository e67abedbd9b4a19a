// out[pixel, c] = stage( Σ_tap Σ_i (lhs[pixel · stride + tap · dilation - pad, i] - z) · (weight[c, tap, i] - v[c]) )
//
// A convolution with groups of any size. An invocation owns one pixel of one quad. Each of its four output channels may belong to
// another group, and the channels of a group may start in the middle of a word.
//
//     weight: [output channel][tap][channel of the group / 4]  u32, zero beyond the group
//
//     pixel bytes   | a b c d | e f g h |       group channels c d e f: two words, one shift
//                         ^---- ^
// Meaning: reference/conv.rs. Candidates: kernels/conv/conv.rs. Parameters: conv/params.wgsl.
//# import gemm/tile_order
//# import conv/params
//# import conv/window
//# import math/linear_index
//# import gemm/zero_point
//# import conv/weights_words
//# import gemm/dot
//# needs row_parameters: gemm/row_parameters_*
//# constants GROUP_X, GROUP_Y, LHS_FLIP, WEIGHT_ZERO_POINT

@group(0) @binding(1) var<storage, read> lhs: array<u32>;

// Four codes from byte `offset` of the pixel whose first word is `first`; bytes past the pixel may be anything.
fn load_codes(first: u32, offset: u32) -> u32 {
    let index = offset / 4u;
    let shift = (offset % 4u) * 8u;
    let low = lhs[first + index];
    let high = lhs[first + min(index + 1u, params.pixel_words - 1u)];
    return select((low >> shift) | (high << ((32u - shift) & 31u)), low, shift == 0u) ^ LHS_FLIP;
}

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(
    @builtin(workgroup_id) group_id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = linear_group(group_id, groups);
    if (tile >= params.tiles) {
        return;
    }
    let own = tile_place(tile);
    let pixel = own.x * GROUP_Y + local.y;
    let quad = own.y * GROUP_X + local.x;
    if (pixel >= params.pixels || quad >= params.output_quads) {
        return;
    }
    let origin = window_origin(pixel);
    let padding = zero_word();
    let group_words = (params.group_channels + 3u) / 4u + opaque_zero(groups);
    let taps = params.kernel.x * params.kernel.y * params.kernel.z;

    var sums = vec4<i32>(0);
    var lhs_sums = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = quad * 4u + lane;
        if (column >= params.n) {
            break;
        }
        let offset = (column / params.group_outputs) * params.group_channels;
        var at = column * taps * group_words;
        let kernel = params.kernel.xyz + vec3<u32>(opaque_zero(groups));
        for (var z = 0u; z < kernel.x; z += 1u) {
            for (var y = 0u; y < kernel.y; y += 1u) {
                let row = tap_row(origin, z, y);
                for (var x = 0u; x < kernel.z; x += 1u) {
                    let column_x = tap_column(origin, x);
                    let inside = column_x < row.y;
                    let first = select(0u, (row.x + column_x) * params.pixel_words, inside);
                    for (var w = 0u; w < group_words; w += 1u) {
                        let codes = select(padding, load_codes(first, offset + 4u * w), inside);
                        sums[lane] += dot4(codes, weight[at]);
                        if (WEIGHT_ZERO_POINT) {
                            let ones = select(0x01010101u, params.tail.x, w + 1u == group_words);
                            lhs_sums[lane] += dot4(codes, ones);
                        }
                        at += 1u;
                    }
                }
            }
        }
    }
    store_products(output_pixel(pixel), quad, row_parameters(0u), load_columns(0u, 0u, quad), sums, lhs_sums);
}
