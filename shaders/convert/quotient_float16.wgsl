// Quotients in f16: the f32 one is rounded once more, which for operands that are f16 changes nothing of the result, and the
// integers nearest to them.
//# import math/float_bits
//# import math/float16_bits

fn quotient(value: u32, scale: u32) -> u32 {
    return f32_from_f16(f16_from_f32(f32_divide(value, scale)));
}

fn quotient_steps(value: u32, scale: u32) -> i32 {
    return f32_round_to_i32(quotient(value, scale));
}
