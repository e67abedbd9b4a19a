// Input format: int8 (INPUT_SIGNED) or uint8 codes, four per word, rows padded to whole vec4.
//# needs input_word: elementwise/operand_input, elementwise/operand_input_in_place
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants INPUT_SIGNED

fn unpack_codes(word: u32) -> vec4<i32> {
    if (INPUT_SIGNED) {
        return unpack4xI8(word);
    }
    return vec4<i32>(unpack4xU8(word));
}

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    return unpack_codes(input_word(row * params.input_words + quad));
}
