// Codes: E2M1 in units of 1/2, as integers -12 to 12.
//# import grouped/bit_planes
//# import grouped/small_integers
//# constants PACKED

const BITS: u32 = 4u;
const CODE_SHIFT: u32 = 1u;

fn four(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    return small_integers(plane4((*packed)[first + lane], half, piece), 1u);
}
