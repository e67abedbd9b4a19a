// Quotients in f32, and the nearest integers, halves away from zero, saturated to the i32 range.
//# import math/float_bits

fn quotient(value: u32, scale: u32) -> u32 {
    return f32_divide(value, scale);
}

fn quotient_steps(value: u32, scale: u32) -> i32 {
    let word = quotient(value, scale);
    let exponent = i32((word >> 23u) & 0xffu) - 127;
    if (exponent < -1) {
        return 0;
    }
    if (exponent > 22) {
        return f32_round_to_i32(word);
    }
    let shift = u32(23 - exponent);                         // 1 to 24
    let significand = (word & 0x7fffffu) | 0x800000u;
    let whole = i32((significand + (1u << (shift - 1u))) >> shift);
    return select(whole, -whole, (word & F32_SIGN) != 0u);
}
