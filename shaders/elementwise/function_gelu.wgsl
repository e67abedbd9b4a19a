// x · Φ(x). The tail of the error function, 1 − erf(z), is a polynomial in t = 1 / (1 + p z) times e^-z², within 1.5e-7
// (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).

fn function_of(x: f32) -> f32 {
    let z = min(abs(x) * 0.70710678, 9.0);
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let polynomial = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    let tail = polynomial * exp(-z * z);
    return 0.5 * x * select(2.0 - tail, tail, x < 0.0);
}
