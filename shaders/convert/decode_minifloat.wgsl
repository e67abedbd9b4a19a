// Element format: a float of INPUT_WIDTH bits: a sign, an exponent of bias INPUT_BIAS, and INPUT_MANTISSA bits of mantissa. Every
// such float is a float32. Codes (without sign) from INPUT_FIRST_NAN on are NaN; INPUT_INFINITY is infinity.
// Twin: numeric/minifloat.rs.
//# constants INPUT_BIAS, INPUT_FIRST_NAN, INPUT_INFINITY, INPUT_MANTISSA, INPUT_UNSIGNED_ZERO, INPUT_WIDTH

fn decode(element: u32) -> u32 {
    let sign = (element >> (INPUT_WIDTH - 1u)) << 31u;
    let magnitude = element & ((1u << (INPUT_WIDTH - 1u)) - 1u);
    let field = magnitude >> INPUT_MANTISSA;
    let fraction = magnitude & ((1u << INPUT_MANTISSA) - 1u);
    // A subnormal is shifted up until its leading one is at the place of a normal number's.
    let shift = (countLeadingZeros(fraction) - (31u - INPUT_MANTISSA)) & 31u;
    let subnormal = ((128u - INPUT_BIAS - shift) << 23u) | ((fraction << (shift + 23u - INPUT_MANTISSA)) & 0x7fffffu);
    let normal = ((field + 127u - INPUT_BIAS) << 23u) | (fraction << (23u - INPUT_MANTISSA));
    let small = select(subnormal, 0u, fraction == 0u);
    let finite = sign | select(normal, small, field == 0u);
    let is_nan = magnitude >= INPUT_FIRST_NAN || (INPUT_UNSIGNED_ZERO && element == 1u << (INPUT_WIDTH - 1u));
    return select(select(finite, sign | 0x7f800000u, magnitude == INPUT_INFINITY), sign | 0x7fc00000u, is_nan);
}
