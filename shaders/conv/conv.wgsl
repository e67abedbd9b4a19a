// out[pixel, c] = stage( Σ_tap Σ_i (lhs[pixel · stride + tap · dilation - pad, i] - z) · (weight[c, tap, i] - v[c]) )
//
// A convolution of one group, or of groups that are whole vec4 (16 input channels) and whole quads (4 output channels). An
// invocation owns TILE_M pixels of TILE_Q quads of one group. Taps outside the image read the zero point, which stands for zero.
//
//     weight: [group][tap][channel / 16][output channel of the group, padded to 4]  vec4<u32>
//
// Meaning: reference/conv.rs. Candidates: kernels/conv/conv.rs. Parameters: conv/params.wgsl.
//# import gemm/tile_order
//# import conv/params
//# import conv/window
//# import math/linear_index
//# import gemm/register_tile
//# import gemm/dot
//# needs READS, may_exit, owned_row, tile_rows: gemm/row_source_*
//# constants GROUP_X, GROUP_Y, LHS_FLIP, QUAD_STEP, TILE_M, TILE_Q, WEIGHT_ZERO_POINT

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

alias Row = vec4<u32>;

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
    if (may_exit(first_pixel >= params.pixels || first_quad >= params.output_quads)) {
        return;
    }
    let first_column = min(first_quad * 4u, params.n - 1u);
    let group = first_column / params.group_outputs;
    let group_vecs = (params.group_channels + 15u) / 16u + opaque_zero(groups);
    let pixel_vecs = params.pixel_words / 4u;
    let padding = vec4<u32>(zero_word());

    // Tiles that overlap the edge compute the last pixel or quad again and do not store it.
    var origin: array<vec4<i32>, READS>;
    for (var i = 0u; i < READS; i += 1u) {
        origin[i] = window_origin(min(first_pixel + owned_row(i), params.pixels - 1u));
    }
    let group_quad = first_quad - group * params.group_outputs / 4u;
    let place = weight_place(group_quad);
    let next_place = weight_place(group_quad + QUAD_STEP);

    var k_row = group * params.kernel.x * params.kernel.y * params.kernel.z * group_vecs;
    let kernel = params.kernel.xyz + vec3<u32>(opaque_zero(groups));
    for (var z = 0u; z < kernel.x; z += 1u) {
        for (var y = 0u; y < kernel.y; y += 1u) {
            var row: array<vec2<u32>, READS>;
            for (var i = 0u; i < READS; i += 1u) {
                row[i] = tap_row(origin[i], z, y);
            }
            for (var x = 0u; x < kernel.z; x += 1u) {
                var inside: array<bool, READS>;
                var base: array<u32, READS>;
                for (var i = 0u; i < READS; i += 1u) {
                    let column_x = tap_column(origin[i], x);
                    inside[i] = column_x < row[i].y;
                    base[i] = select(0u, (row[i].x + column_x) * pixel_vecs + group * group_vecs, inside[i]);
                }
                for (var v = 0u; v < group_vecs; v += 1u) {
                    var read: array<Row, READS>;
                    for (var i = 0u; i < READS; i += 1u) {
                        read[i] = select(padding, lhs[base[i] + v] ^ vec4<u32>(LHS_FLIP), inside[i]);
                    }
                    var codes = tile_rows(&read);
                    if (WEIGHT_ZERO_POINT) {
                        let ones = select(ALL_ONES, params.tail, v + 1u == group_vecs);
                        for (var i = 0u; i < TILE_M; i += 1u) {
                            lhs_sums[i] += dot16(codes[i], ones);
                        }
                    }
                    add_quad(&codes, 0u, read_quad(k_row, place));
                    if (TILE_Q > 1u) {
                        add_quad(&codes, 1u, read_quad(k_row, next_place));
                    }
                    k_row += 1u;
                }
            }
        }
    }

    store_tile(first_pixel, first_quad, 0u, groups);
}
