// f16 in pairs per word to f32, exactly, by integer operations. math/float16_unpack.wgsl is for devices whose own conversion is
// exact.

// Exponent and mantissa move up by 13 bits, and the bias grows by 112. A subnormal is read as a number that is 2^-14 too large;
// 2^-14 is then subtracted.
fn f16x4_to_f32(words: vec2<u32>) -> vec4<f32> {
    let halves = vec4<u32>(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
    let sign = (halves & vec4<u32>(0x8000u)) << vec4<u32>(16u);
    let magnitude = (halves & vec4<u32>(0x7fffu)) << vec4<u32>(13u);
    let bias = select(vec4<u32>(112u << 23u), vec4<u32>(224u << 23u), magnitude >= vec4<u32>(31u << 23u));
    let subnormal = bitcast<vec4<f32>>(magnitude + vec4<u32>(113u << 23u)) - vec4<f32>(6.103515625e-05);
    let bits = select(magnitude + bias, bitcast<vec4<u32>>(subnormal), magnitude < vec4<u32>(1u << 23u));
    return bitcast<vec4<f32>>(bits | sign);
}
