// The two operands of an elementwise op under NumPy broadcasting: elementwise/operand_rows.wgsl finds
// the row, a last dimension of one repeats its first code.
//# import elementwise/operand_rows
//# needs lhs_word: elementwise/operand_lhs, elementwise/operand_lhs_in_place
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# needs rhs_word: elementwise/operand_rhs, elementwise/operand_rhs_in_place
//# constants LHS_SIGNED, RHS_SIGNED

fn unpack_signed(word: u32, signed: bool) -> vec4<i32> {
    return select(vec4<i32>(unpack4xU8(word)), unpack4xI8(word), signed);
}

fn load_lhs(row: u32, quad: u32) -> vec4<i32> {
    let codes = unpack_signed(lhs_word(row * params.lhs_words + quad * params.lhs_step), LHS_SIGNED);
    return select(codes, codes.xxxx, params.lhs_step == 0u);
}

fn load_rhs(row: u32, quad: u32) -> vec4<i32> {
    let codes = unpack_signed(rhs_word(row * params.rhs_words + quad * params.rhs_step), RHS_SIGNED);
    return select(codes, codes.xxxx, params.rhs_step == 0u);
}
