// 1 / (1 + e^-x), by the exponential of -|x|: no sum and no power is large.

fn sigmoid(x: f32) -> f32 {
    let power = exp(-abs(x));
    return select(1.0, power, x < 0.0) / (1.0 + power);
}
