// The input codes of four output channels of a depthwise convolution: a word, or what the multiplier repeats.
//# needs lhs: conv/conv, conv/conv_grouped, conv/conv_words, conv/depthwise, conv/depthwise_row, elementwise/operand_lhs, gemm/matmul, gemm/matmul_coop, gemm/workgroup_tile, grouped/lhs_float16, grouped/lhs_float32, grouped/lhs_int8, grouped/linear_coop
//# needs lhs_codes: gemm/dot_*
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants LHS_FLIP, MULTIPLIER_ONE

fn load_codes(first: u32, quad: u32) -> vec4<i32> {
    if (MULTIPLIER_ONE) {
        return lhs_codes(lhs[first + quad] ^ LHS_FLIP);
    }
    var word = 0u;
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let channel = min((quad * 4u + lane) / params.group_outputs, params.pixel_words * 4u - 1u);
        word |= ((lhs[first + channel / 4u] >> (8u * (channel % 4u))) & 0xffu) << (8u * lane);
    }
    return lhs_codes(word ^ LHS_FLIP);
}
