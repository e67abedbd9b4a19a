// Codes as float32: four small floats at the upper ends of bytes. A code that is shifted left by EXPAND_SHIFT is a float16 except
// for the exponent bias; the factor 2^EXPAND_GAIN corrects it. The factor 2^CODE_SHIFT is the one that `aligned` takes from scales.
//# import math/float16
//# constants CODE_SHIFT, EXPAND_GAIN, EXPAND_SHIFT

fn code_values(word: u32) -> vec4<f32> {
    let bytes = unpack4xU8(word);
    let halves = ((bytes & vec4<u32>(0x80u)) << vec4<u32>(8u)) | ((bytes & vec4<u32>(0x7fu)) << vec4<u32>(EXPAND_SHIFT));
    let pairs = vec2<u32>(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u));
    return f16x4_to_f32(pairs) * f32(1u << (EXPAND_GAIN + CODE_SHIFT));
}
