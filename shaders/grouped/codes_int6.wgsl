// Codes: 6-bit integers at the upper end of their bytes, in planes of 4 and 2 bits.
//# import grouped/bit_planes
//# constants PACKED

const BITS: u32 = 6u;
const CODE_SHIFT: u32 = 2u;

fn four(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let at = 6u * lane;
    let upper = packed_words(packed, first, at);
    let lower = vec2<u32>(packed_word(packed, first, at + 4u), packed_word(packed, first, at + 5u));
    return (plane4(upper, half, piece) << 4u) | (plane2(lower, half, piece) << 2u);
}
