// Dot products of packed int8: four products per word, sixteen per vec4, exact in i32 (wrapping).

fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return (dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y)) + (dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w));
}

// The sum of sixteen int8; `ones` holds 0x01 for each byte that counts.
const ALL_ONES: vec4<u32> = vec4<u32>(0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u);
