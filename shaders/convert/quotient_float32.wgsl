// Quotients in f32, and the nearest integers. Up to 16 bits, integers beyond 16 bits saturate the code; 32-bit codes need all bits.
//# import math/nearest_step
//# constants BITS

fn quotient(value: u32, scale: u32) -> u32 {
    return f32_divide(value, scale);
}

fn quotient_steps(value: u32, scale: u32) -> i32 {
    if (BITS == 32u) {
        return f32_round_to_i32(quotient(value, scale));
    }
    return quotient_step(value, scale);
}
