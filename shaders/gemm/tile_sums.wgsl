// The sums of a tile, TILE_Q quads of TILE_M rows, and those of the rows of lhs.
//
// Module variables, because some drivers keep arrays that are indexed by the counters of nested loops in memory.
//# import gemm/zero_point
//# needs has_row, lhs_row, output_row: conv/pixel_rows, gemm/batch_rows
//# needs hidden_zero: math/linear_index
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# needs row_parameters: gemm/row_parameters_*
//# constants LHS_ROWS, ROW_ENTRIES, TILE_M, TILE_Q

var<private> sums: array<vec4<i32>, TILE_Q * TILE_M>;
var<private> lhs_sums: array<i32, TILE_M>;

// Brings the sums of the quad's next row to the front, after its last row those of the next quad's first.
fn next_row() {
    for (var j = 1u; j < TILE_Q * TILE_M; j += 1u) {
        sums[j - 1u] = sums[j];
    }
    let first = lhs_sums[0];
    for (var j = 1u; j < TILE_M; j += 1u) {
        lhs_sums[j - 1u] = lhs_sums[j];
    }
    lhs_sums[TILE_M - 1u] = first;
}

// Stores the tile. Which rows there are and where they lie is the rows part's to say (lib/*_rows.wgsl).
//
// What columns are rescaled by is loaded once for all rows. Storing is long: a loop that drivers can't write out, over what is
// always first, is one copy of it, where one over all places would be as many as there are, or index memory.
fn store_tile(first_row: u32, first_quad: u32, weight_batch: u32, groups: vec3<u32>) {
    var parameters = row_parameters(0u);
    for (var q = 0u; q < TILE_Q + hidden_zero(groups); q += 1u) {
        let quad = first_quad + q;
        var columns = load_columns(0u, weight_batch, min(quad, params.output_quads - 1u));
        for (var i = 0u; i < TILE_M + hidden_zero(groups); i += 1u) {
            let row = first_row + i;
            if (has_row(row) && quad < params.output_quads) {
                if (LHS_ROWS) {
                    parameters = row_parameters(lhs_row(row));
                }
                if (ROW_ENTRIES) {
                    columns.entries = row_entries(output_row(row), quad);
                }
                store_products(output_row(row), quad, parameters, columns, sums[0], vec4<i32>(lhs_sums[0]));
            }
            next_row();
        }
    }
}
