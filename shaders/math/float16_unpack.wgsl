// f16 in pairs per word to f32, by the device's own conversion. WGSL lets it flush subnormals: it is for devices that keep them.
// Context tests that (probe/unpack_f16.wgsl).

fn f16x4_to_f32(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
