// Floats with two bits of exponent as integers: in units of their least number they fit int8.

// Four codes in the low bits of bytes, sign, two bits of exponent and `mantissa` bits: each as int8 in its byte.
fn small_integers(codes: vec4<u32>, mantissa: u32) -> vec4<u32> {
    let one = vec4<u32>(0x01010101u);
    let fraction = codes & vec4<u32>(0x01010101u * ((1u << mantissa) - 1u));
    let low = (codes >> vec4<u32>(mantissa)) & one;
    let high = (codes >> vec4<u32>(mantissa + 1u)) & one;
    let sign = (codes >> vec4<u32>(mantissa + 2u)) & one;
    // 1.m from the exponent 1 on, twice that at 2 and four times at 3: at most 60, so that no byte reaches the next.
    let number = fraction | ((low | high) << vec4<u32>(mantissa));
    let twice = (high & ~low) * vec4<u32>(0xffu);
    let fourfold = (high & low) * vec4<u32>(0xffu);
    let size = (number & ~(twice | fourfold)) | ((number << vec4<u32>(1u)) & twice) | ((number << vec4<u32>(2u)) & fourfold);
    // -x is ~x + 1, but 0 stays.
    let negative = sign & ((size + vec4<u32>(0x7f7f7f7fu)) >> vec4<u32>(7u));
    return (size ^ (negative * vec4<u32>(0xffu))) + negative;
}
