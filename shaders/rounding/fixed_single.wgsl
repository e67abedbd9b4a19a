// Rounding::FixedSingle: (acc · multiplier + 2^(30 - shift)) >> (31 - shift) in 64 bits, half up, saturated to i32.

fn rescale(acc: i32, multiplier: u32, shift: i32) -> i32 {
    // 64-bit two's complement product of a signed and a non-negative word.
    var wide = multiply_wide(u32(abs(acc)), multiplier);
    if (acc < 0) {
        wide = vec2<u32>(~wide.x + select(0u, 1u, wide.y == 0u), ~wide.y + 1u);
    }
    let total = u32(31 - shift);                            // 1 to 62
    let half = total - 1u;
    let low = wide.y + select(0u, 1u << (half & 31u), half < 32u);
    let carry = select(0u, 1u, low < wide.y);
    let high = bitcast<i32>(wide.x + carry + select(1u << (half & 31u), 0u, half < 32u));
    if (total >= 32u) {
        return high >> (total - 32u);
    }
    // The result is bits [total, total + 32) of high:low; it fits i32 exactly when the bits above all equal its sign.
    if ((high >> (total - 1u)) != (high >> 31u)) {
        return select(0x7fffffff, -0x7fffffff - 1, high < 0);
    }
    return bitcast<i32>((low >> total) | (bitcast<u32>(high) << (32u - total)));
}
