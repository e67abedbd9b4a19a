// out[pixel, c] = stage( Σ_tap (lhs[pixel · stride + tap · dilation - pad, c / multiplier] - z) · (weight[c, tap] - v[c]) )
//
// A depthwise convolution whose taps along the rows are known when it is compiled. An invocation owns TILE_M neighbouring pixels of
// an output row in one quad. It reads each input column that they share once.
//
//     TILE_M = 4, TAPS = 3, STRIDE = 1     columns  0 1 2 3 4 5     SPAN = 6
//                                          output 0 - - -
//                                          output 3       - - -
//
//     weight: [tap][output channel / 4]  u32 of four int8
//
// Meaning: reference/conv.rs. Candidates: kernels/conv/conv.rs. Parameters: conv/params.wgsl.
//# import gemm/tile_order
//# import conv/params
//# import conv/window
//# import math/linear_index
//# import gemm/zero_point
//# import conv/weights_words
//# import conv/depthwise_codes
//# needs Codes, as_codes, as_integers: conv/depthwise_sums_*
//# needs row_parameters: gemm/row_parameters_table
//# constants GROUP_X, GROUP_Y, STRIDE, TAPS, TILE_M, WEIGHT_ZERO_POINT

const SPAN: u32 = (TILE_M - 1u) * STRIDE + TAPS;

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
    let part = own.x * GROUP_Y + local.y;      // tile index along a row
    let quad = own.y * GROUP_X + local.x;
    let first_column = (part % params.row_tiles) * TILE_M;
    let first_pixel = (part / params.row_tiles) * params.out_size.z + first_column;
    if (first_pixel >= params.pixels || quad >= params.output_quads) {
        return;
    }
    let source_quad = min(quad, params.weight_stride - 1u);
    let zero_codes = as_codes(vec4<i32>(lhs_zero_point(row_parameters(0u))));
    let origin = window_origin(first_pixel);

    var sums: array<Codes, TILE_M>;
    var lhs_sums: array<Codes, TILE_M>;
    var at = source_quad;
    let kernel = params.kernel.xyz + vec3<u32>(opaque_zero(groups));
    for (var z = 0u; z < kernel.x; z += 1u) {
        for (var y = 0u; y < kernel.y; y += 1u) {
            let row = tap_row(origin, z, y);
            var codes: array<Codes, SPAN>;
            for (var s = 0u; s < SPAN; s += 1u) {
                let column = tap_column(origin, s);
                let inside = column < row.y;
                let first = select(0u, (row.x + column) * params.pixel_words, inside);
                codes[s] = select(zero_codes, as_codes(load_codes(first, source_quad)), inside);
            }
            for (var x = 0u; x < TAPS; x += 1u) {
                let filter_codes = as_codes(unpack4xI8(weight[at]));
                for (var i = 0u; i < TILE_M; i += 1u) {
                    sums[i] += codes[i * STRIDE + x] * filter_codes;
                    if (WEIGHT_ZERO_POINT) {
                        lhs_sums[i] += codes[i * STRIDE + x];
                    }
                }
                at += params.weight_stride;
            }
        }
    }
    let columns = load_columns(0u, 0u, quad);
    let parameters = row_parameters(0u);
    for (var i = 0u; i < TILE_M; i += 1u) {
        if (first_column + i < params.out_size.z) {
            let products = as_integers(sums[i]);
            store_products(output_pixel(first_pixel + i), quad, parameters, columns, products, as_integers(lhs_sums[i]));
        }
    }
}
