// Four products of lhs, read as int8, and weights, read as uint8, written out as in gemm/dot_uint8_lhs.wgsl.

fn lhs_codes(word: u32) -> vec4<i32> {
    return unpack4xI8(word);
}

fn dot4(lhs: u32, weight: u32) -> i32 {
    return dot(lhs_codes(lhs), vec4<i32>(unpack4xU8(weight)));
}
