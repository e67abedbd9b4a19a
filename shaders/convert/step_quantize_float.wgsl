// Conversion: the float of at most 8 bits nearest to x / scale. Entry: scale (f32 bits), -. Below 8 bits, -0 becomes 0, because
// ONNX's own tests add a zero point of 0.
//# import math/float_bits
//# needs decode: convert/decode_float16, convert/decode_float32
//# needs encode: convert/encode_minifloat
//# needs quotient: convert/quotient_*
//# constants WIDTH

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    let value = decode(element);
    let exact = select(quotient(value, entry.x), value, (value & ~F32_SIGN) >= F32_INFINITY);
    return encode(select(exact, 0u, WIDTH < 8u && exact == F32_SIGN));
}
