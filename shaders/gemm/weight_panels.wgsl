// Weights of products lie in panels of 64 columns, so that what a workgroup reads along k is close together:
//
//     [panel][row: batch or group, k / 16][column of the panel]      the last panel has the columns that are left
//
// Twin: `pack_columns` in kernels/matmul.rs.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

const PANEL: u32 = 64u;

// Where a column begins, and how far it is from one row to the next. Quads of columns are side by side.
fn weight_place(column: u32) -> vec2<u32> {
    let first = column / PANEL * PANEL;
    return vec2<u32>(first * params.weight_rows + (column - first), min(params.weight_stride - first, PANEL));
}
