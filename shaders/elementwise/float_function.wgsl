// The functions of one number; FUNCTION selects one. No intermediate number is large.
//
// Meaning: reference/float_unary.rs.
//# constants FUNCTION

const RELU: u32 = 0u;
const SIGMOID: u32 = 1u;
const TANH: u32 = 2u;
const SILU: u32 = 3u;
const GELU: u32 = 4u;

// 1 / (1 + e^-x), by the exponential of -|x|.
fn sigmoid(x: f32) -> f32 {
    let power = exp(-abs(x));
    return select(1.0, power, x < 0.0) / (1.0 + power);
}

// WGSL's own tanh may be a quotient of large sums, which overflow.
fn bounded_tanh(x: f32) -> f32 {
    let power = exp(-2.0 * abs(x));
    let size = (1.0 - power) / (1.0 + power);
    return select(size, -size, x < 0.0);
}

// x · Φ(x). The tail of the error function, 1 − erf(z), is a polynomial in t = 1 / (1 + p z) times e^-z², within 1.5e-7
// (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).
fn gelu(x: f32) -> f32 {
    let z = min(abs(x) * 0.70710678, 9.0);
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let polynomial = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    let tail = polynomial * exp(-z * z);
    return 0.5 * x * select(2.0 - tail, tail, x < 0.0);
}

// (1 + tanh(a)) / 2 is sigmoid(2 a). It is 0 or 1 beyond 16, where a cube would only grow large.
fn gelu_by_tanh(x: f32) -> f32 {
    let near = clamp(x, -16.0, 16.0);
    return x * sigmoid(1.5957691 * (near + 0.044715 * near * near * near));
}

fn function_of(x: f32) -> f32 {
    if (FUNCTION == RELU) {
        return max(x, 0.0);
    }
    if (FUNCTION == SIGMOID) {
        return sigmoid(x);
    }
    if (FUNCTION == TANH) {
        return bounded_tanh(x);
    }
    if (FUNCTION == SILU) {
        return x * sigmoid(x);
    }
    if (FUNCTION == GELU) {
        return gelu(x);
    }
    return gelu_by_tanh(x);
}
