// Element format: powers of two, 2^(code - 127), and NaN. 2^-127 is subnormal.

fn decode(element: u32) -> u32 {
    let power = select(element << 23u, 1u << 22u, element == 0u);
    return select(power, 0x7fc00000u, element == 255u);
}
