// f32 = clamp(f32(acc + bias) · (scale_row · scale_column) + real_bias) of one accumulator.
//
// Entry: bias, scale (f32 bits), high word of a bias of 64 bits, real bias (f32 bits). The product of the scales is clamped to the
// largest f32. Each operation is one correctly rounded f32 operation, done in integers, with equal bits on every device.
//# import math/float_bits
//# import epilogue/tables
//# params high, low
//# constants REAL_BIAS

fn real_value(accumulator: i32, scale: u32, entry: vec4<i32>) -> u32 {
    return real_of_sum(f32_from_i32(accumulator + entry.x), scale, entry);
}

// The result for a sum that is f32 already and includes the bias.
fn real_of_sum(sum: u32, scale: u32, entry: vec4<i32>) -> u32 {
    let multiplier = min(f32_multiply(scale, bitcast<u32>(entry.y)), F32_GREATEST);
    var value = f32_multiply(sum, multiplier);
    if (REAL_BIAS) {
        value = f32_add(value, bitcast<u32>(entry.w));
    }
    return f32_from_order(clamp(f32_order(value), params.low, params.high));
}
