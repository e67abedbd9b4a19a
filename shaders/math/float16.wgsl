// f16 from f32, to nearest, ties to even, on bit patterns. Subnormals, infinities and NaN are kept.

// The bits of the f16 nearest to an f32.
fn f16_from_f32(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return sign | 0x7e00u;
    }
    if (magnitude >= 0x477ff000u) {                          // infinity from 65,520 on
        return sign | 0x7c00u;
    }
    if (magnitude < 0x33000000u) {                           // below 2^-25
        return sign;
    }
    // The mantissa with its leading one, shifted so that a unit of the result is the last bit.
    let exponent = magnitude >> 23u;
    let shift = select(13u, 126u - exponent, exponent < 113u);
    let mantissa = select(magnitude - (112u << 23u), (magnitude & 0x7fffffu) | 0x800000u, exponent < 113u);
    let rest = mantissa & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    var code = mantissa >> shift;
    code += select(0u, 1u, rest > half || (rest == half && (code & 1u) == 1u));
    return sign | code;
}
