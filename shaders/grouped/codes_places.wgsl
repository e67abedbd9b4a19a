// Codes: places in a table of 4, 8 or 16 numbers, in planes of UPPER and LOWER bits. grouped/place_values.wgsl reads the numbers.
//# import grouped/bit_planes
//# constants LOWER, PACKED, UPPER

const BITS: u32 = UPPER + LOWER;
const CODE_SHIFT: u32 = 0u;

fn four_codes(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    return plane_codes(packed, first, lane, half, piece);
}
