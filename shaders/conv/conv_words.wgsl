// out[pixel, c] = stage( Σ_tap Σ_i (lhs[pixel · stride + tap · dilation - pad, i] - z) · (weight[c, tap, i] - v[c]) )
//
// A convolution of one group whose channels don't fill whole vec4s, such as the three of an image. It walks along the channels word
// by word, so it multiplies at most three bytes of padding per tap. An invocation owns TILE_M pixels of TILE_Q quads.
//
//     weight: [tap][channel / 4][output channel / 4]  vec4<u32>     a word of four channels for each of four outputs
//
// Meaning: reference/conv.rs. Candidates: kernels/conv/conv.rs. Parameters: conv/params.wgsl.
//# import gemm/tile_order
//# import gemm/tile_sums
//# import conv/params
//# import conv/window
//# import math/linear_index
//# import gemm/weights_int8
//# import gemm/dot
//# constants GROUP_X, GROUP_Y, LHS_FLIP, QUAD_STEP, TILE_M, TILE_Q, WEIGHT_ZERO_POINT

@group(0) @binding(1) var<storage, read> lhs: array<u32>;

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
    let first_pixel = (own.x * GROUP_Y + local.y) * TILE_M;
    let first_quad = owned_quad(own.y, local.x);
    if (first_pixel >= params.pixels || first_quad >= params.output_quads) {
        return;
    }
    let words = (params.group_channels + 3u) / 4u + opaque_zero(groups);
    let padding = zero_word();

    // Tiles that overlap the edge compute the last pixel or quad again and do not store it.
    var origin: array<vec4<i32>, TILE_M>;
    for (var i = 0u; i < TILE_M; i += 1u) {
        origin[i] = window_origin(min(first_pixel + i, params.pixels - 1u));
    }
    var at: array<u32, TILE_Q>;
    for (var q = 0u; q < TILE_Q; q += 1u) {
        at[q] = min(first_quad + q * QUAD_STEP, params.weight_stride / 4u - 1u);
    }

    let kernel = params.kernel.xyz + vec3<u32>(opaque_zero(groups));
    for (var z = 0u; z < kernel.x; z += 1u) {
        for (var y = 0u; y < kernel.y; y += 1u) {
            var row: array<vec2<u32>, TILE_M>;
            for (var i = 0u; i < TILE_M; i += 1u) {
                row[i] = tap_row(origin[i], z, y);
            }
            for (var x = 0u; x < kernel.z; x += 1u) {
                var inside: array<bool, TILE_M>;
                var base: array<u32, TILE_M>;
                for (var i = 0u; i < TILE_M; i += 1u) {
                    let column = tap_column(origin[i], x);
                    inside[i] = column < row[i].y;
                    base[i] = select(0u, (row[i].x + column) * params.pixel_words, inside[i]);
                }
                for (var w = 0u; w < words; w += 1u) {
                    var codes: array<u32, TILE_M>;
                    for (var i = 0u; i < TILE_M; i += 1u) {
                        codes[i] = select(padding, lhs[base[i] + w] ^ LHS_FLIP, inside[i]);
                    }
                    if (WEIGHT_ZERO_POINT) {
                        let ones = select(0x01010101u, params.tail.x, w + 1u == words);
                        for (var i = 0u; i < TILE_M; i += 1u) {
                            lhs_sums[i] += dot4(codes[i], ones);
                        }
                    }
                    for (var q = 0u; q < TILE_Q; q += 1u) {
                        let filters = weight[at[q]];
                        at[q] += params.weight_stride / 4u;
                        for (var i = 0u; i < TILE_M; i += 1u) {
                            sums[q * TILE_M + i] += vec4<i32>(
                                dot4(codes[i], filters.x), dot4(codes[i], filters.y),
                                dot4(codes[i], filters.z), dot4(codes[i], filters.w),
                            );
                        }
                    }
                }
            }
        }
    }

    store_tile(first_pixel, first_quad, 0u, groups);
}
