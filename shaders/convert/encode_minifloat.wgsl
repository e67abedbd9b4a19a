// Element format: a float of WIDTH bits: a sign, an exponent of bias BIAS, and MANTISSA bits of mantissa. It is the nearest to the
// number, ties to even. Sizes beyond the code GREATEST become OVERFLOW; NaN becomes NAN_CODE.
// Twin: numeric/minifloat.rs.
//# constants BIAS, GREATEST, MANTISSA, NAN_CODE, OVERFLOW, UNSIGNED_ZERO, WIDTH

fn encode(value: u32) -> u32 {
    let sign = (value >> 31u) << (WIDTH - 1u);
    let magnitude = value & 0x7fffffffu;
    // The number in units of the last bit of the code, and the bits that are cut off.
    let below = magnitude < (128u - BIAS) << 23u;
    let tiny = min(23u - MANTISSA + 128u - BIAS - min(magnitude >> 23u, 128u - BIAS), 25u);
    let bits = select(magnitude - ((127u - BIAS) << 23u), (magnitude & 0x7fffffu) | 0x800000u, below);
    let shift = select(23u - MANTISSA, tiny, below);
    let rest = bits & ((1u << shift) - 1u);
    let tie = 1u << (shift - 1u);
    let kept = bits >> shift;
    let rounded = kept + select(0u, 1u, rest > tie || (rest == tie && (kept & 1u) == 1u));
    let code = select(rounded, OVERFLOW, rounded > GREATEST);
    let signed = select(sign | code, 0u, UNSIGNED_ZERO && code == 0u);
    return select(signed, sign | NAN_CODE, magnitude > 0x7f800000u);
}
