// Rounding::Onnx: round_ties_even(f32(acc) · multiplier), each step rounded to f32 as ONNX Runtime's CPU does it; sizes of 2^17 and
// more only as at least that, which no code is.
//# import math/nearest_step

fn rescale(acc: i32, multiplier: u32, shift: i32) -> i32 {
    return product_step(acc, multiplier);
}
