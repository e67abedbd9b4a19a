// Dot products of packed bytes, lhs first: four products per word, sixteen per vec4, exact in i32 (wrapping).
//
// Bytes are int8, and the built-in function multiplies them. UNSIGNED_LHS or UNSIGNED_WEIGHTS: this factor is uint8, and products
// are written out for compilers like LLVM. If one factor is unsigned and both fit 16 bits, a product is one 16-bit multiplication.
// Otherwise it takes several instructions of 32 bits.
//# constants UNSIGNED_LHS, UNSIGNED_WEIGHTS

fn lhs_codes(word: u32) -> vec4<i32> {
    if (UNSIGNED_LHS) {
        return vec4<i32>(unpack4xU8(word));
    }
    return unpack4xI8(word);
}

fn dot4(lhs: u32, weight: u32) -> i32 {
    if (UNSIGNED_LHS) {
        return dot(lhs_codes(lhs), unpack4xI8(weight));
    }
    if (UNSIGNED_WEIGHTS) {
        return dot(lhs_codes(lhs), vec4<i32>(unpack4xU8(weight)));
    }
    return dot4I8Packed(lhs, weight);
}

// A chain: GPUs add to a dot product in one instruction.
fn add_dot16(sum: i32, lhs: vec4<u32>, weight: vec4<u32>) -> i32 {
    return dot4(lhs.w, weight.w) + (dot4(lhs.z, weight.z) + (dot4(lhs.y, weight.y) + (dot4(lhs.x, weight.x) + sum)));
}

fn dot16(lhs: vec4<u32>, weight: vec4<u32>) -> i32 {
    return add_dot16(0, lhs, weight);
}

// A factor that sums sixteen bytes: 0x01 for each byte that counts.
const ALL_ONES: vec4<u32> = vec4<u32>(0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u);
