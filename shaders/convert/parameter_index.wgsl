// Which scale and zero point belong to an element, for any granularity: per tensor, per index of an axis, per block of
// an axis. Rows are all dimensions but the last; `rows` below counts the rows inside one index of the quantized axis.
//
//     index = (row / (rows · extent)) · outer  +  ((row / rows) % extent / block) · axis  +  (row % rows) · inner
//           + (column / column_block) · column_step
//
// Written by kernels/granularity.rs.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

fn parameter_row(row: u32) -> u32 {
    let rows = params.index_sizes.x;
    let extent = params.index_sizes.y;
    let block = params.index_sizes.z;
    let outer = row / (rows * extent);
    let along = (row / rows) % extent;
    return outer * params.index_strides.x + (along / block) * params.index_strides.y
        + (row % rows) * params.index_strides.z;
}

fn parameter_column(column: u32) -> u32 {
    return (column / params.index_sizes.w) * params.index_strides.w;
}
