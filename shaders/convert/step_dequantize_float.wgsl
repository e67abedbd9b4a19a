// Conversion: the real number x * scale, one correctly rounded product. NaN and infinity stay, and a scale that is NaN
// makes NaN. Entry: scale (f32 bits), -.
//# import math/float_bits
//# needs decode: convert/decode_*
//# needs encode: convert/encode_*

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    let value = decode(element);
    let real = select(f32_multiply(value, entry.x), value, (value & ~F32_SIGN) >= F32_INFINITY);
    return encode(select(real, entry.x, f32_is_nan(entry.x)));
}
