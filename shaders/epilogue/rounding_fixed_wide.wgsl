// Rounding::FixedWide (TFLite's for 64-bit sums): (acc · r + 2^(14 - shift)) >> (15 - shift) in 64 bits, half up, saturated to
// i32. r is the multiplier rounded to 15 bits. Sums are below 2^47 in size and shifts are -31 to 7, so products fit 62 bits.
//# import math/multiply_wide
//# import math/wide_sum

fn rescale_wide(sum: vec2<u32>, multiplier: u32, shift: i32) -> i32 {
    let reduced = min((multiplier + 0x8000u) >> 16u, 0x7fffu);
    let negative = (sum.x >> 31u) == 1u;
    let size = select(sum, wide_negated(sum), negative);
    var product = multiply_wide(size.y, reduced);
    product.x += size.x * reduced;
    return wide_divided(select(product, wide_negated(product), negative), u32(15 - shift));
}

fn rescale(acc: i32, multiplier: u32, shift: i32) -> i32 {
    return rescale_wide(wide_from_i32(acc), multiplier, shift);
}
