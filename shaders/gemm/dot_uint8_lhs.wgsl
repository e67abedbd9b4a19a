// Four products of lhs, read as uint8, and int8, written out for compilers like LLVM. If one factor is unsigned and both fit 16
// bits, the product is one 16-bit multiplication. Otherwise it takes several instructions of 32 bits.

fn lhs_codes(word: u32) -> vec4<i32> {
    return vec4<i32>(unpack4xU8(word));
}

fn dot4(lhs: u32, weight: u32) -> i32 {
    return dot(lhs_codes(lhs), unpack4xI8(weight));
}
