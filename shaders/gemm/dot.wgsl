// Dot products of packed bytes, lhs first: four products per word (gemm/dot_*.wgsl), sixteen per vec4, exact in i32 (wrapping).
//# needs dot4: gemm/dot_*

fn dot16(lhs: vec4<u32>, weight: vec4<u32>) -> i32 {
    return (dot4(lhs.x, weight.x) + dot4(lhs.y, weight.y)) + (dot4(lhs.z, weight.z) + dot4(lhs.w, weight.w));
}

// A factor that sums sixteen bytes: 0x01 for each byte that counts.
const ALL_ONES: vec4<u32> = vec4<u32>(0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u);
