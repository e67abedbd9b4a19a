// Quotients in f32.

fn quotient(value: u32, scale: u32) -> u32 {
    return f32_divide(value, scale);
}
