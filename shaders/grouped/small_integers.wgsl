// Floats with two bits of exponent as integers: in units of their least number they fit int8.

// Each of four codes as int8 in its byte. A code is in the low bits of its byte: sign, two bits of exponent and `mantissa` bits.
fn small_integers(codes: u32, mantissa: u32) -> u32 {
    let one = 0x01010101u;
    let fraction = codes & (one * ((1u << mantissa) - 1u));
    let low = (codes >> mantissa) & one;
    let high = (codes >> (mantissa + 1u)) & one;
    let sign = (codes >> (mantissa + 2u)) & one;
    // 1.m from the exponent 1 on, twice that at 2 and four times at 3: at most 60, so no byte carries into the next.
    let number = fraction | ((low | high) << mantissa);
    let twice = (high & ~low) * 0xffu;
    let fourfold = (high & low) * 0xffu;
    let size = (number & ~(twice | fourfold)) | ((number << 1u) & twice) | ((number << 2u) & fourfold);
    // -x is ~x + 1, but 0 stays.
    let negative = sign & ((size + 0x7f7f7f7fu) >> 7u);
    return (size ^ (negative * 0xffu)) + negative;
}
