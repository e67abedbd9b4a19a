// Scale of a block of E2M1: the E4M3 nearest to size / 6 / global, of normal numbers only.
//# import math/float_bits
//# needs encode: convert/encode_*
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials

fn scale_code(size: u32) -> u32 {
    let quotient = f32_divide(f32_divide(size, 0x40c00000u), params.global);
    return encode(clamp(quotient, 0x3c800000u, 0x43e00000u));
}
