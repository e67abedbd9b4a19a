// Codes as float32: four E5M2FNUZ. Their greatest exponent does not fit a float16. The exponent is moved to float32's field and
// raised by 111. Subnormals are their fraction in units of 2^-17. The result is multiplied by 2^CODE_SHIFT, which `aligned` takes
// from scales.
//# constants CODE_SHIFT

fn code_values(word: u32) -> vec4<f32> {
    let bytes = unpack4xU8(word);
    let sizes = bytes & vec4<u32>(0x7fu);
    let normal = bitcast<vec4<f32>>((sizes << vec4<u32>(21u)) + vec4<u32>(111u << 23u));
    let small = vec4<f32>(sizes & vec4<u32>(3u)) * 0x1p-17;
    let values = select(normal, small, sizes < vec4<u32>(4u));
    return select(values, -values, (bytes & vec4<u32>(0x80u)) != vec4<u32>(0u)) * f32(1u << CODE_SHIFT);
}
