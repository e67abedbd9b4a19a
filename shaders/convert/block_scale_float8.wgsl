// Scale of a block of E2M1: the E4M3 nearest to size / 6 / global, of normal numbers only.
//# import math/float_bits
//# params global
//# needs encode: convert/encode_minifloat

fn scale_code(size: u32) -> u32 {
    let quotient = f32_divide(f32_divide(size, 0x40c00000u), params.global);
    return encode(clamp(quotient, 0x3c800000u, 0x43e00000u));
}
