//! Results that are exact only within a bound: the exact number, the error of a device, and the resulting bound of the stored
//! number. Each op defines its own error.
//!
//! For an f32 operation WGSL guarantees either neighbour of the exact result, if that is a finite f32: an error of [`UNIT`] times
//! its magnitude. A subnormal factor or result may count as zero. This costs a sum at most [`FLUSHED`], but a product its whole
//! magnitude ([`flushed`]). WGSL guarantees nothing for numbers beyond f32: it assumes that there are none. The terms of a sum may
//! be added in any order, so each partial sum is at most the sum of all magnitudes. If that may leave f32, the bound is infinite.

use crate::numeric::DType;

/// The largest relative error of one f32 operation on a device: WGSL permits either neighbour.
pub(super) const UNIT: f64 = f32::EPSILON as f64;

/// The largest error of a sum, per operation, if a subnormal number counts as zero.
pub(super) const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// f16 results are infinite from here on.
const BEYOND_HALF: f64 = 65_520.0;

/// The error of a product if a device counts a subnormal factor as zero.
pub(super) fn flushed(a: f64, b: f64) -> f64 {
    if a.abs() < FLUSHED || b.abs() < FLUSHED { (a * b).abs() } else { 0.0 }
}

/// The bound for an error, if no intermediate number is larger than `largest`; else infinity.
pub(super) fn bound(error: f64, largest: f64) -> f32 {
    // NaN fails both comparisons.
    let stays = largest <= f64::from(f32::MAX) && error <= f64::from(f32::MAX);
    if !stays {
        return f32::INFINITY;
    }
    let nearest = error as f32;
    if f64::from(nearest) < error { nearest.next_up() } else { nearest }
}

/// An exact result before the clamp and the rounding, and the error of a device up to there.
pub(super) struct Sum {
    pub value: f64,
    pub error: f64,
    /// An upper bound of the magnitude of any intermediate number.
    pub largest: f64,
}

impl Sum {
    /// The bound of the difference between a device's and the reference's result, stored in this data type.
    pub(super) fn tolerance(&self, dtype: DType) -> f32 {
        let size = self.value.abs();
        let result = size + self.error;
        let half = dtype == DType::Float16;
        // Twice, because the reference rounds too. f16 has 11 bits, and no unit below 2⁻²⁴.
        let rounding = 2.0 * if half { (result / 2048.0).max(0.5f64.powi(25)) } else { result * UNIT };
        let error = self.error + rounding + result * UNIT + FLUSHED;
        // One of the two results may be infinite, and the other the greatest f16.
        if half && size - error < BEYOND_HALF && size + error >= BEYOND_HALF {
            return f32::INFINITY;
        }
        bound(error, self.largest.max(size + error))
    }
}

/// A sum of products in f32, and its error.
#[cfg(feature = "train")]
#[derive(Default, Clone, Copy)]
pub(super) struct Products {
    pub value: f64,
    /// The sum of the magnitudes of all products; infinite if a factor is not finite.
    pub size: f64,
    /// The error from subnormal factors that count as zero.
    lost: f64,
}

#[cfg(feature = "train")]
impl Products {
    pub(super) fn add(&mut self, a: f64, b: f64) {
        self.value += a * b;
        self.size += (a * b).abs();
        self.lost += flushed(a, b);
    }

    /// The bound of the sum of `terms` products times `scale`. Each product goes through `operations` operations of two units each.
    pub(super) fn tolerance(&self, terms: usize, operations: usize, scale: f64) -> f32 {
        let unscaled = 2.0 * UNIT * operations as f64 * self.size + self.lost + 4.0 * (terms + 1) as f64 * FLUSHED;
        let scaled = scale.abs() * unscaled + flushed(scale, self.size) + FLUSHED;
        bound(scaled, (self.size + unscaled).max(scale.abs() * self.size + scaled))
    }
}
