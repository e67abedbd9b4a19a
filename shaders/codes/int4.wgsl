// Codes: 4-bit integers at the upper end of their bytes: one mask, and a shift for the lower half.

const BITS: u32 = 4u;
const CODE_SHIFT: u32 = 4u;

fn sixteen(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32) -> vec4<u32> {
    let words = (*packed)[first + lane];
    return select(words << vec4<u32>(4u), words, half == 1u) & vec4<u32>(0xf0f0f0f0u);
}
