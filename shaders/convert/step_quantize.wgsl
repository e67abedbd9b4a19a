// Conversion: code = saturate(round_ties_even(x / scale) + zero_point). Entry: scale (f32 bits), zero point.
//
// Quotients are correctly rounded: ties fall alike on every device. NaN becomes the least code, infinity saturates. 32-bit codes
// have no zero point.
//# import math/float_bits
//# params high, low
//# needs decode: convert/decode_float16, convert/decode_float32
//# needs quotient_steps: convert/quotient_*

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    let value = decode(element);
    let zero_point = bitcast<i32>(entry.y);
    let steps = quotient_steps(value, entry.x);
    let code = clamp(steps, params.low - zero_point, params.high - zero_point) + zero_point;
    let special = select(params.low, params.high, value == F32_INFINITY);
    return bitcast<u32>(select(code, special, (value & ~F32_SIGN) >= F32_INFINITY));
}
