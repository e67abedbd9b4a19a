// Conversion: the float of at most 8 bits nearest to x / scale. Entry: scale (f32 bits), -. Of formats below 8 bits the zero
// point is added, as ONNX's own tests do: -0 becomes 0.
//# import math/float_bits
//# needs decode: convert/decode_*
//# needs encode: convert/encode_*
//# needs quotient: convert/quotient_*, grouped/find_scales
//# constants WIDTH

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    let value = decode(element);
    let exact = select(quotient(value, entry.x), value, (value & ~F32_SIGN) >= F32_INFINITY);
    return encode(select(exact, 0u, WIDTH < 8u && exact == F32_SIGN));
}
