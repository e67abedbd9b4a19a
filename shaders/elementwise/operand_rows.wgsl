// Where an op under NumPy broadcasting finds what an output row, or a matrix of a product, needs of either operand: by strides of
// zero along the dimensions that it repeats. Twin: kernels/broadcast.rs.
//# needs hidden_zero: math/linear_index
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

// The rows or matrices of lhs (x) and rhs (y) that an output row or matrix reads.
fn operand_rows(row: u32, groups: vec3<u32>) -> vec2<u32> {
    var rest = row;
    var rows = vec2<u32>(0u);
    for (var i = 0u; i < params.dimensions + hidden_zero(groups); i += 1u) {     // innermost first
        let dimension = params.dimension[i];
        rows += (rest % dimension.x) * dimension.yz;
        rest = rest / dimension.x;
    }
    return rows;
}
