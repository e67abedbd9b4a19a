// Codes: floats with two bits of exponent and MANTISSA bits of mantissa, E2M1 and E2M3, in planes of UPPER and LOWER bits. In units
// of their least number, 2^-MANTISSA, they are integers that fit int8.
//# import grouped/bit_planes
//# constants LOWER, MANTISSA, PACKED, UPPER

const BITS: u32 = UPPER + LOWER;
const CODE_SHIFT: u32 = MANTISSA;

// Each of four codes as int8 in its byte. A code is in the low bits of its byte: sign, two bits of exponent and the mantissa.
fn small_integers(codes: u32) -> u32 {
    let one = 0x01010101u;
    let fraction = codes & (one * ((1u << MANTISSA) - 1u));
    let low = (codes >> MANTISSA) & one;
    let high = (codes >> (MANTISSA + 1u)) & one;
    let sign = (codes >> (MANTISSA + 2u)) & one;
    // 1.m from the exponent 1 on, twice that at 2 and four times at 3: at most 60, so no byte carries into the next.
    let number = fraction | ((low | high) << MANTISSA);
    let twice = (high & ~low) * 0xffu;
    let fourfold = (high & low) * 0xffu;
    let size = (number & ~(twice | fourfold)) | ((number << 1u) & twice) | ((number << 2u) & fourfold);
    // -x is ~x + 1, but 0 stays.
    let negative = sign & ((size + 0x7f7f7f7fu) >> 7u);
    return (size ^ (negative * 0xffu)) + negative;
}

fn four_codes(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    return small_integers(plane_codes(packed, first, lane, half, piece));
}
