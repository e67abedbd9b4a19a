// The code of a weight for the scale and shift of its group, on bit patterns. An infinite scale stands for a group that is refused.
// LOW and HIGH are the least and greatest integer of a code. Twin: weights/quantize.rs.
//# import math/float_bits
//# constants HIGH, LOW, SHIFT

const SHIFT_NONE: u32 = 0u;
const SHIFT_INTEGER: u32 = 1u;                              // zero points
const SHIFT_REAL: u32 = 2u;                                 // zero points in f32
const SHIFT_OFFSET: u32 = 3u;

fn is_zero(word: u32) -> bool {
    return (word & ~F32_SIGN) == 0u;
}

fn code_steps(x: u32, scale: u32) -> u32 {
    if (is_zero(scale) || (scale & ~F32_SIGN) == F32_INFINITY) {
        return 0u;
    }
    return f32_divide(x, scale);
}

// The integer nearest to x. `shift` is an integer for integer zero points, otherwise f32 bits.
fn weight_integer(x: u32, scale: u32, shift: u32) -> i32 {
    if (SHIFT == SHIFT_INTEGER) {
        let zero = bitcast<i32>(shift);
        return clamp(f32_round_to_i32(code_steps(x, scale)), LOW - zero, HIGH - zero) + zero;
    }
    if (SHIFT == SHIFT_REAL) {
        return clamp(f32_round_to_i32(f32_add(code_steps(x, scale), shift)), LOW, HIGH);
    }
    if (SHIFT == SHIFT_OFFSET) {
        let rest = f32_finite(f32_add(x, shift ^ F32_SIGN));
        return clamp(f32_round_to_i32(code_steps(rest, scale)), LOW, HIGH);
    }
    return clamp(f32_round_to_i32(code_steps(x, scale)), LOW, HIGH);
}
