// Rounding::Onnx: round_ties_even(f32(acc) · multiplier), each step rounded to f32 as ONNX Runtime's CPU does it.

fn rescale(acc: i32, multiplier: u32, shift: i32) -> i32 {
    return f32_round_to_i32(f32_multiply(f32_from_i32(acc), multiplier));
}
