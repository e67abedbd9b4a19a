// Conversion: code = saturate(round_ties_even(x / scale) + zero_point). Entry: scale (f32 bits), zero point.
//
// Quotients are exact, so that ties fall the same way on every device. NaN becomes the least code, infinity saturates; 32-bit
// codes have no zero point.
//# import math/float_bits
//# needs decode: convert/decode_*
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# needs quotient_steps: convert/quotient_*

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    let value = decode(element);
    let zero_point = bitcast<i32>(entry.y);
    let steps = quotient_steps(value, entry.x);
    let code = clamp(steps, params.low - zero_point, params.high - zero_point) + zero_point;
    let special = select(params.low, params.high, value == F32_INFINITY);
    return bitcast<u32>(select(code, special, (value & ~F32_SIGN) >= F32_INFINITY));
}
