// WGSL's own tanh may be a quotient of large sums, which overflow.

fn function_of(x: f32) -> f32 {
    let power = exp(-2.0 * abs(x));
    let size = (1.0 - power) / (1.0 + power);
    return select(size, -size, x < 0.0);
}
