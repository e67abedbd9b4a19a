// Codes: E2M3 in units of 1/8, as integers -60 to 60, in planes of 4 and 2 bits.
//# import grouped/bit_planes
//# import grouped/small_integers
//# constants PACKED

const BITS: u32 = 6u;
const CODE_SHIFT: u32 = 3u;

fn four(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let at = 6u * lane;
    let upper = packed_words(packed, first, at);
    let lower = vec2<u32>(packed_word(packed, first, at + 4u), packed_word(packed, first, at + 5u));
    return small_integers((plane4(upper, half, piece) << 2u) | plane2(lower, half, piece), 3u);
}
