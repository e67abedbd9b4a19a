// Quotients in f32, and the integers nearest to them, of which those beyond 16 bits saturate the code. 32-bit codes want all of them.
//# import math/nearest_step
//# needs BITS: grouped/codes_*

fn quotient(value: u32, scale: u32) -> u32 {
    return f32_divide(value, scale);
}

fn quotient_steps(value: u32, scale: u32) -> i32 {
    if (BITS == 32u) {
        return f32_round_to_i32(quotient(value, scale));
    }
    return quotient_step(value, scale);
}
