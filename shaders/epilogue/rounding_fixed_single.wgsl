// Rounding::FixedSingle: (acc · multiplier + 2^(30 - shift)) >> (31 - shift) in 64 bits, half up, saturated to i32.
//# import math/multiply_wide
//# import math/wide_sum

fn rescale(acc: i32, multiplier: u32, shift: i32) -> i32 {
    // 64-bit two's complement product of a signed and a non-negative word.
    let size = multiply_wide(u32(abs(acc)), multiplier);
    return wide_divided(select(size, wide_negated(size), acc < 0), u32(31 - shift));
}
