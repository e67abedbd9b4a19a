// Rounding::Onnx: round_ties_even(f32(acc) · multiplier), each step rounded to f32 as on ONNX Runtime's CPU. A result of 2^17 or
// more in size is only known to be at least 2^17; no code is that large.
//# import math/nearest_step

fn rescale(acc: i32, multiplier: u32, shift: i32) -> i32 {
    return product_step(acc, multiplier);
}
