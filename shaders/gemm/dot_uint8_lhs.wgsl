// Four products of lhs, read as uint8, and int8, written out for compilers like LLVM: if one factor has no sign and both have at
// most 16 bits, the product is an instruction that multiplies 16 bits, else it is one of several that multiplies 32.

fn lhs_codes(word: u32) -> vec4<i32> {
    return vec4<i32>(unpack4xU8(word));
}

fn dot4(lhs: u32, weight: u32) -> i32 {
    return dot(lhs_codes(lhs), unpack4xI8(weight));
}
