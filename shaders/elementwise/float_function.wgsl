// The functions of one number; FUNCTION selects one. Those of bounded results have no large intermediate number.
//
// Meaning: reference/float_unary.rs.
//# import elementwise/float_steps
//# constants FUNCTION

const RELU: u32 = 0u;
const SIGMOID: u32 = 1u;
const TANH: u32 = 2u;
const SILU: u32 = 3u;
const GELU: u32 = 4u;
const GELU_TANH: u32 = 5u;
const SQRT: u32 = 6u;
const EXP: u32 = 7u;
const LOG: u32 = 8u;
const ABS: u32 = 9u;
const NEGATE: u32 = 10u;
const RECIPROCAL: u32 = 11u;
const ERF: u32 = 12u;
const FLOOR: u32 = 13u;
const CEIL: u32 = 14u;
const ROUND: u32 = 15u;
const SOFTPLUS: u32 = 16u;
const HARD_SIGMOID: u32 = 17u;
const HARD_SWISH: u32 = 18u;
const CLAMP: u32 = 19u;
const LEAKY_RELU: u32 = 20u;
const IS_NAN: u32 = 22u;

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

// 1 − erf(z) for z ≥ 0: a polynomial in t = 1 / (1 + p z) times e^-z², within 1.5e-7 (Abramowitz and Stegun, Handbook of
// Mathematical Functions, 7.1.26).
fn error_tail(size: f32) -> f32 {
    let z = min(size, 9.0);
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let polynomial = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return polynomial * exp(-z * z);
}

// The error function. Below 1, where 1 − tail would lose digits, its power series up to x^21, whose rest is below 1.3e-9.
fn error_function(x: f32) -> f32 {
    let near = clamp(x, -1.0, 1.0);
    let s = near * near;
    var series = 1.4807193e-8;
    series = series * s - 1.6365845e-7;
    series = series * s + 1.6462115e-6;
    series = series * s - 1.4925651e-5;
    series = series * s + 1.2055333e-4;
    series = series * s - 8.548327e-4;
    series = series * s + 5.2239776e-3;
    series = series * s - 2.6866171e-2;
    series = series * s + 0.11283792;
    series = series * s - 0.37612638;
    series = series * s + 1.1283792;
    let far = 1.0 - error_tail(abs(x));
    return select(select(far, -far, x < 0.0), near * series, abs(x) < 1.0);
}

// x · Φ(x), by the error function at |x| / √2.
fn gelu(x: f32) -> f32 {
    let tail = error_tail(abs(x) * 0.70710678);
    return 0.5 * x * select(2.0 - tail, tail, x < 0.0);
}

// (1 + tanh(a)) / 2 is sigmoid(2 a). It is 0 or 1 beyond 16, where a cube would only grow large.
fn gelu_by_tanh(x: f32) -> f32 {
    let near = clamp(x, -16.0, 16.0);
    return x * sigmoid(1.5957691 * (near + 0.044715 * near * near * near));
}

// e^x. The exponential's error grows with the argument; below -104 nothing is left.
fn exponential(x: f32) -> f32 {
    return exp(max(x, -104.0));
}

// log(1 + e^x) = max(x, 0) + log(1 + p) of p = e^-|x|. log(1 + p) = 2 · atanh(s) of s = p / (2 + p), at most 1/3: its power series
// up to s^13 keeps the digits of a small p, unlike the logarithm of a sum.
fn softplus(x: f32) -> f32 {
    let p = exponential(-abs(x));
    let s = p / (2.0 + p);
    let t = s * s;
    let series = (((((t * 0.07692308 + 0.09090909) * t + 0.11111111) * t + 0.14285715) * t + 0.2) * t + 0.33333334) * t + 1.0;
    return max(x, 0.0) + 2.0 * s * series;
}

fn hard_sigmoid(x: f32, slope: f32, shift: f32) -> f32 {
    return max(0.0, min(1.0, slope * x + shift));
}

fn function_of(x: f32, parameters: vec2<f32>) -> f32 {
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
    if (FUNCTION == GELU_TANH) {
        return gelu_by_tanh(x);
    }
    if (FUNCTION == SQRT) {
        return root(x);
    }
    if (FUNCTION == EXP) {
        return exponential(x);
    }
    if (FUNCTION == LOG) {
        return log(x);
    }
    if (FUNCTION == ABS) {
        return abs(x);
    }
    if (FUNCTION == NEGATE) {
        return -x;
    }
    if (FUNCTION == RECIPROCAL) {
        return quotient(1.0, x);
    }
    if (FUNCTION == ERF) {
        return error_function(x);
    }
    if (FUNCTION == FLOOR) {
        return floor(x);
    }
    if (FUNCTION == CEIL) {
        return ceil(x);
    }
    if (FUNCTION == ROUND) {
        return round(x);
    }
    if (FUNCTION == SOFTPLUS) {
        return softplus(x);
    }
    if (FUNCTION == HARD_SIGMOID) {
        return hard_sigmoid(x, parameters.x, parameters.y);
    }
    if (FUNCTION == HARD_SWISH) {
        return x * hard_sigmoid(x, 0.16666667, 0.5);
    }
    if (FUNCTION == CLAMP) {
        return min(max(x, parameters.x), parameters.y);
    }
    if (FUNCTION == IS_NAN) {
        // A comparison of floats may assume that there is none.
        return select(0.0, 1.0, (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u);
    }
    if (FUNCTION == LEAKY_RELU) {
        return select(x, parameters.x * x, x < 0.0);
    }
    return select(x, parameters.x * (exponential(min(x, 0.0)) - 1.0), x < 0.0);
}
