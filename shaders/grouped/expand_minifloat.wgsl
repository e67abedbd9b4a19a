// Codes as float32: four small floats at the upper ends of bytes. Moved up by EXPAND_SHIFT a code is a float16 but for its bias,
// for which EXPAND_GAIN and EXPAND_LOSS, powers of two, make up; CODE_SHIFT is undone, because such codes have no unit.
//# import math/float16
//# needs CODE_SHIFT: grouped/codes_*
//# constants EXPAND_GAIN, EXPAND_SHIFT

fn code_values(word: u32) -> vec4<f32> {
    let bytes = unpack4xU8(word);
    let halves = ((bytes & vec4<u32>(0x80u)) << vec4<u32>(8u)) | ((bytes & vec4<u32>(0x7fu)) << vec4<u32>(EXPAND_SHIFT));
    let pairs = vec2<u32>(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u));
    return f16x4_to_f32(pairs) * f32(1u << (EXPAND_GAIN + CODE_SHIFT));
}
