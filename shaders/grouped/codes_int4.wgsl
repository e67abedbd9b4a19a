// Codes: 4-bit integers at the upper end of their bytes: one mask, plus a shift for the lower half.
//# constants PACKED

const BITS: u32 = 4u;
const CODE_SHIFT: u32 = 4u;

fn four_codes(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let word = (*packed)[first + lane][piece];
    return select(word << 4u, word, half == 1u) & 0xf0f0f0f0u;
}
