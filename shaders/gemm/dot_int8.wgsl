// Four products of lhs, read as int8, and int8, by the built-in function.

fn lhs_codes(word: u32) -> vec4<i32> {
    return unpack4xI8(word);
}

fn dot4(lhs: u32, weight: u32) -> i32 {
    return dot4I8Packed(lhs, weight);
}
