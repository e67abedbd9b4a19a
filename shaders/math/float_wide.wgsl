// The f32 nearest to a 64-bit number (math/wide_sum.wgsl), ties to even.
//# import math/float_bits
//# import math/wide_sum

fn f32_from_wide(value: vec2<u32>) -> u32 {
    let sign = value.x & F32_SIGN;
    let size = select(value, wide_negated(value), sign != 0u);
    if (size.x == 0u) {
        let shift = countLeadingZeros(size.y) & 31u;
        return f32_pack(sign, 31 - i32(shift), size.y << shift);
    }
    let shift = countLeadingZeros(size.x);
    let carried = select(size.y >> ((32u - shift) & 31u), 0u, shift == 0u);
    let sticky = select(0u, 1u, (size.y << shift) != 0u);
    return f32_pack(sign, 63 - i32(shift), (size.x << shift) | carried | sticky);
}
