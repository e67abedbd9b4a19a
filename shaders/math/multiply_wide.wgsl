// The 64-bit product of two 32-bit words, from four 16-bit multiplications (WGSL has no 64-bit integers).
// Twin: u64 multiplication in Rust; tests/arithmetic.rs compares the two.

// x = high word, y = low word of a · b.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let low = a_low * b_low;
    let cross = a_high * b_low + (low >> 16u);              // at most 2^32 - 2^16
    let middle = a_low * b_high + (cross & 0xffffu);        // at most 2^32 - 2^16
    return vec2<u32>(
        a_high * b_high + (cross >> 16u) + (middle >> 16u),
        (middle << 16u) | (low & 0xffffu),
    );
}
