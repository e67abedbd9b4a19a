// f16 in pairs per word, to f32 (exact) and from f32 (to nearest, ties to even), on bit patterns. Subnormals, infinities and NaN
// are kept.

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

// The bits of the f16 nearest to an f32.
fn f16_from_f32(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return sign | 0x7e00u;
    }
    if (magnitude >= 0x477ff000u) {                          // infinity from 65,520 on
        return sign | 0x7c00u;
    }
    if (magnitude < 0x33000000u) {                           // below 2^-25
        return sign;
    }
    // The mantissa with its leading one, shifted so that a unit of the result is the last bit.
    let exponent = magnitude >> 23u;
    let shift = select(13u, 126u - exponent, exponent < 113u);
    let mantissa = select(magnitude - (112u << 23u), (magnitude & 0x7fffffu) | 0x800000u, exponent < 113u);
    let rest = mantissa & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    var code = mantissa >> shift;
    code += select(0u, 1u, rest > half || (rest == half && (code & 1u) == 1u));
    return sign | code;
}
