// A quotient and a root whose errors WGSL bounds for all finite numbers.

// a / b, within 2.5 ULP. WGSL says so for divisors up to 2^126; a larger one is made smaller, with the dividend.
fn quotient(a: f32, b: f32) -> f32 {
    let unit = select(1.0, 0.25, abs(b) > 0x1p125);
    return (a * unit) / (b * unit);
}

// √x, within 4.5 ULP: a reciprocal of an inverse root. That of 0 is infinite.
fn root(x: f32) -> f32 {
    return select(sqrt(x), 0.0, x == 0.0);
}
