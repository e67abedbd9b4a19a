// Conversion: the real number x * scale, one correctly rounded product. NaN and infinity stay. A NaN scale makes NaN. Entry: scale
// (f32 bits), -.
//# import math/float_bits
//# needs decode: convert/decode_minifloat
//# needs encode: convert/encode_float16, convert/encode_float32

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    let value = decode(element);
    let real = select(f32_multiply(value, entry.x), value, (value & ~F32_SIGN) >= F32_INFINITY);
    return encode(select(real, entry.x, f32_is_nan(entry.x)));
}
