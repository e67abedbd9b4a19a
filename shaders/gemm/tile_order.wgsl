// Which tile of a product a workgroup owns, of tiles_m along the rows by tiles_n along the columns of each matrix: (row, column,
// matrix).
//
// Weights that stay in a cache are gone through for each row of tiles, larger ones once: then neighbours own the same columns.
// Twin: kernels/tile.rs.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

fn tile_place(tile: u32) -> vec3<u32> {
    let matrix_tiles = params.tiles_m * params.tiles_n;
    let own = tile % matrix_tiles;
    let by_columns = vec2<u32>(own / params.tiles_n, own % params.tiles_n);
    let by_rows = vec2<u32>(own % params.tiles_m, own / params.tiles_m);
    return vec3<u32>(select(by_columns, by_rows, params.rows_first == 1u), tile / matrix_tiles);
}
