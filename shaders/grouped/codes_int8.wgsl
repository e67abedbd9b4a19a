// Codes: 8-bit integers.
//# constants PACKED

const BITS: u32 = 8u;
const CODE_SHIFT: u32 = 0u;

fn four_codes(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    return select((*packed)[first + 2u * lane][piece], (*packed)[first + 2u * lane + 1u][piece], half == 1u);
}
