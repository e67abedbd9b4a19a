//! The noise of one trace against another, which plans of bits are searched by. Other measures are `evaluate`'s.

/// noise / signal, where 0 / 0 is 0.
pub(crate) fn ratio(noise: f64, signal: f64) -> f64 {
    if noise == 0.0 { 0.0 } else { noise / signal }
}

/// `Σ (x − y)² / Σ x²`.
#[must_use]
pub fn noise_to_signal(reference: &[f32], test: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let noise = reference.iter().zip(test).map(|(&x, &y)| square(f64::from(x) - f64::from(y))).sum();
    ratio(noise, reference.iter().map(|&x| square(x.into())).sum())
}
