// Scale of a block: a power of two, 2^(code - 127). It brings the exponent of the largest size to ELEMENT_EXPONENT, the exponent of
// the greatest element. The code is one more if the size's fraction exceeds ELEMENT_FRACTION (23 bits; all ones to truncate).
//# constants ELEMENT_EXPONENT, ELEMENT_FRACTION

fn scale_code(size: u32) -> u32 {
    // 2^-127 is subnormal. Smaller numbers become 2^-127.
    let subnormal = size < 0x800000u;
    let small = select((size << 1u) & 0x7fffffu, 0u, size < 0x400000u);
    let fraction = select(size & 0x7fffffu, small, subnormal);
    let code = (size >> 23u) + select(0u, 1u, fraction > ELEMENT_FRACTION);
    return min(max(code, ELEMENT_EXPONENT) - ELEMENT_EXPONENT, 254u);
}
