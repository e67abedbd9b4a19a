// Element format: powers of two, 2^(code - 127), of the size of the number: the next above (POWER_ROUNDING 0) or below (1), or
// the nearest (2), halfway up. Infinity and NaN become NaN, and what is beyond 2^127 becomes POWER_OVERFLOW.
// Twin: numeric/minifloat.rs.
//# constants POWER_OVERFLOW, POWER_ROUNDING

fn encode(value: u32) -> u32 {
    let magnitude = value & 0x7fffffffu;
    let subnormal = magnitude < 0x800000u;
    // 2^-127 is subnormal, and what is below becomes it.
    let small = select((magnitude << 1u) & 0x7fffffu, 0u, magnitude < 0x400000u);
    let fraction = select(magnitude & 0x7fffffu, small, subnormal);
    let up = select(select(fraction > 0u, false, POWER_ROUNDING == 1u), fraction >= 0x400000u, POWER_ROUNDING == 2u);
    let code = (magnitude >> 23u) + select(0u, 1u, up);
    return select(select(code, POWER_OVERFLOW, code == 255u), 255u, magnitude >= 0x7f800000u);
}
