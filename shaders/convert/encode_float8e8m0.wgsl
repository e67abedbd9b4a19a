// Element format: powers of two, 2^(code - 127), near the number's size: the next above (POWER_ROUNDING 0), the next below (1), or
// the nearest, ties up (2). Infinity and NaN become NaN. Sizes beyond 2^127 become POWER_OVERFLOW.
// Twin: numeric/minifloat.rs.
//# constants POWER_OVERFLOW, POWER_ROUNDING

fn encode(value: u32) -> u32 {
    let magnitude = value & 0x7fffffffu;
    let subnormal = magnitude < 0x800000u;
    // 2^-127 is subnormal. Smaller numbers become 2^-127.
    let small = select((magnitude << 1u) & 0x7fffffu, 0u, magnitude < 0x400000u);
    let fraction = select(magnitude & 0x7fffffu, small, subnormal);
    let up = select(select(fraction > 0u, false, POWER_ROUNDING == 1u), fraction >= 0x400000u, POWER_ROUNDING == 2u);
    let code = (magnitude >> 23u) + select(0u, 1u, up);
    return select(select(code, POWER_OVERFLOW, code == 255u), 255u, magnitude >= 0x7f800000u);
}
