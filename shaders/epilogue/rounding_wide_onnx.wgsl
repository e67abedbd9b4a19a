// Rounding::Onnx of 64-bit sums: round_ties_even(f32(sum) · multiplier), each step rounded to f32.
//# import math/float_wide

fn rescale_wide(sum: vec2<u32>, multiplier: u32, shift: i32) -> i32 {
    return f32_round_to_i32(f32_multiply(f32_from_wide(sum), multiplier));
}
