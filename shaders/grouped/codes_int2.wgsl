// Codes: 2-bit integers at the upper end of their bytes.
//# import grouped/bit_planes
//# constants PACKED

const BITS: u32 = 2u;
const CODE_SHIFT: u32 = 6u;

fn four(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let words = (*packed)[first + lane / 2u];
    return plane2(select(words.xy, words.zw, (lane & 1u) == 1u), half, piece) << 6u;
}
