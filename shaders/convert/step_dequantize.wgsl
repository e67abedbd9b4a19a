// Conversion: the real number (code - zero_point) * scale, an exact difference and one correctly rounded product. A NaN scale makes
// NaN. Entry: scale (f32 bits), zero point.
//# import math/float_bits
//# needs code_of: convert/decode_integer
//# needs encode: convert/encode_float16, convert/encode_float32

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    let real = f32_multiply(f32_from_i32(code_of(element) - bitcast<i32>(entry.y)), entry.x);
    return encode(select(real, entry.x, f32_is_nan(entry.x)));
}
