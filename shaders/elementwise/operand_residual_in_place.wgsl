// The words of the residual where the output will be: each invocation reads what it overwrites.
//# needs output: conv/unfold, convert/block_scales, convert/convert, elementwise/float_*, elementwise/layer_norm, elementwise/softmax, elementwise/table, epilogue/accumulator, epilogue/codes16, epilogue/real_f16, epilogue/real_f32, epilogue/store_*, epilogue/wide_real_f16, epilogue/wide_real_f32, grouped/gather_columns, grouped/pack_codes, layout/concat, layout/copy_rows, layout/rearrange, layout/reshape, layout/transpose_blocks, train/fake_gradient, train/fake_quantize, train/fake_requantize, train/float_conv_image, train/float_conv_weights, train/scale_channels, train/sum_partials

fn residual_word(at: u32) -> u32 {
    return output[at];
}
