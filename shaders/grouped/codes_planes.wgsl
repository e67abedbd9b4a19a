// Codes: integers in planes of UPPER and LOWER bits, expanded at the upper ends of their bytes.
//# import grouped/bit_planes
//# constants LOWER, PACKED, UPPER

const BITS: u32 = UPPER + LOWER;
const CODE_SHIFT: u32 = 8u - BITS;

fn four_codes(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    return plane_codes(packed, first, lane, half, piece) << CODE_SHIFT;
}
