// Codes as float32, four at a time. Integers are converted. Small floats (EXPAND_SHIFT > 0) are at the upper ends of bytes. Shifted
// left by EXPAND_SHIFT such a code is a float16 except for the exponent bias; the factor 2^EXPAND_GAIN corrects it. The factor
// 2^CODE_SHIFT is the one that `aligned` takes from scales.
//
// The greatest exponent of E5M2FNUZ does not fit a float16. Its exponent is moved to float32's field and raised by 111. Subnormals
// are their fraction in units of 2^-17.
//# needs f16x4_to_f32: math/float16_integers, math/float16_unpack
//# constants CODE_SHIFT, E5M2FNUZ, EXPAND_GAIN, EXPAND_SHIFT

fn code_values(word: u32) -> vec4<f32> {
    if (EXPAND_SHIFT == 0u) {
        return vec4<f32>(unpack4xI8(word));
    }
    let bytes = unpack4xU8(word);
    let sizes = bytes & vec4<u32>(0x7fu);
    if (E5M2FNUZ) {
        let normal = bitcast<vec4<f32>>((sizes << vec4<u32>(21u)) + vec4<u32>(111u << 23u));
        let small = vec4<f32>(sizes & vec4<u32>(3u)) * 0x1p-17;
        let values = select(normal, small, sizes < vec4<u32>(4u));
        return select(values, -values, (bytes & vec4<u32>(0x80u)) != vec4<u32>(0u)) * f32(1u << CODE_SHIFT);
    }
    let halves = ((bytes & vec4<u32>(0x80u)) << vec4<u32>(8u)) | (sizes << vec4<u32>(EXPAND_SHIFT));
    let pairs = vec2<u32>(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u));
    return f16x4_to_f32(pairs) * f32(1u << (EXPAND_GAIN + CODE_SHIFT));
}
