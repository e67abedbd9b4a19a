// Codes: 3-bit integers at the upper end of their bytes, in planes of 2 and 1 bits.
//# import grouped/bit_planes
//# constants PACKED

const BITS: u32 = 3u;
const CODE_SHIFT: u32 = 5u;

fn four(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let upper = vec2<u32>(packed_word(packed, first, 3u * lane), packed_word(packed, first, 3u * lane + 1u));
    let lower = packed_word(packed, first, 3u * lane + 2u);
    return (plane2(upper, half, piece) << 6u) | (plane1(lower, half, piece) << 5u);
}
