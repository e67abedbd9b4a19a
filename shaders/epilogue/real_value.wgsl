// f32 = clamp(f32(acc + bias) · (scale_row · scale_column) + real_bias) of one accumulator.
//
// Entry: bias, scale (f32 bits), high word of a bias of 64 bits, real bias (f32 bits). The product of the scales is at most the
// largest f32. Each operation is one correctly rounded f32 operation, done in integers: the same bits on every device.
//# import math/float_bits
//# import epilogue/tables
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants REAL_BIAS

fn real_value(accumulator: i32, scale: u32, entry: vec4<i32>) -> u32 {
    return real_of_sum(f32_from_i32(accumulator + entry.x), scale, entry);
}

// The same of the f32 that the sum with its bias is.
fn real_of_sum(sum: u32, scale: u32, entry: vec4<i32>) -> u32 {
    let multiplier = min(f32_multiply(scale, bitcast<u32>(entry.y)), F32_GREATEST);
    var value = f32_multiply(sum, multiplier);
    if (REAL_BIAS) {
        value = f32_add(value, bitcast<u32>(entry.w));
    }
    return f32_from_order(clamp(f32_order(value), params.low, params.high));
}
