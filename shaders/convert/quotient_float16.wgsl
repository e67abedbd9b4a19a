// Quotients in f16, and the nearest integers. The f32 quotient is rounded once more, to f16; if both operands are f16, that equals
// the f16 quotient.
//# import math/float_bits
//# import math/float16_bits

fn quotient(value: u32, scale: u32) -> u32 {
    return f32_from_f16(f16_from_f32(f32_divide(value, scale)));
}

fn quotient_steps(value: u32, scale: u32) -> i32 {
    return f32_round_to_i32(quotient(value, scale));
}
