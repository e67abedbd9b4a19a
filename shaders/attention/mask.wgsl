// Scores get the numbers of a mask. Numbers of -1e38 or less, and -∞, hide a position.
//# import attention/params

@group(0) @binding(10) var<storage, read> mask: array<u32>;                  // f32 bits

// The bits of 1e38 without a sign. Bits are compared, since drivers may assume that infinity is absent.
const HIDES: u32 = 0x7e967699u;

fn masked(score: f32, place: u32, at: u32) -> f32 {
    let bits = mask[place % params.heads * params.mask_head + place / params.heads * params.mask_token + at];
    let hides = bits >= (HIDES | 0x80000000u);
    return select(score + bitcast<f32>(select(bits, 0u, hides)), NO_SCORE, hides);
}
