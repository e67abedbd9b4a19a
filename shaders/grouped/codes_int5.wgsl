// Codes: 5-bit integers at the upper end of their bytes, in planes of 4 and 1 bits.
//# import grouped/bit_planes
//# constants PACKED

const BITS: u32 = 5u;
const CODE_SHIFT: u32 = 3u;

fn four(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let at = 5u * lane;
    let upper = packed_words(packed, first, at);
    return (plane4(upper, half, piece) << 4u) | (plane1(packed_word(packed, first, at + 4u), half, piece) << 3u);
}
