//! Results that are exact only within a bound: the exact number with the error that a device may make, and what follows for
//! the number that it stores. How large the error is, is each op's.
//!
//! Of one f32 operation WGSL promises either neighbour of the exact result, as long as that is a finite f32: [`UNIT`] of its size. A
//! subnormal factor or result may count as zero, which costs a sum at most [`FLUSHED`], but a product as much as it is
//! ([`flushed`]). Of what leaves f32 nothing is promised: WGSL assumes that there is no such number. The terms of a sum may be added in
//! any order, so that each partial sum is at most the sum of all sizes; where that may leave f32, the bound is infinite.

use half::f16;

use crate::numeric::DType;
use crate::tensor::{Tensor, TensorType, Values};

/// One f32 operation on a device is off by at most this much of its result: WGSL lets it take either neighbour.
pub(super) const UNIT: f64 = f32::EPSILON as f64;

/// What a subnormal number that is taken for zero can cost a sum, per operation.
pub(super) const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// From here on halves are infinite.
const BEYOND_HALF: f64 = 65_520.0;

/// What a product loses where a device takes a subnormal factor for zero.
pub(super) fn flushed(a: f64, b: f64) -> f64 {
    if a.abs() < FLUSHED || b.abs() < FLUSHED { (a * b).abs() } else { 0.0 }
}

/// An error as a bound, where no number on the way is larger than `largest`.
pub(super) fn bound(error: f64, largest: f64) -> f32 {
    // NaN is not below anything.
    let stays = largest <= f64::from(f32::MAX) && error <= f64::from(f32::MAX);
    if !stays {
        return f32::INFINITY;
    }
    let nearest = error as f32;
    if f64::from(nearest) < error { nearest.next_up() } else { nearest }
}

/// An exact result before it is clamped and rounded, and the error that a device may make until then.
pub(super) struct Sum {
    pub value: f64,
    pub error: f64,
    /// At least the size of any number on the way.
    pub largest: f64,
}

impl Sum {
    /// How much a result stored in this format may differ from the reference's.
    pub(super) fn tolerance(&self, dtype: DType) -> f32 {
        let size = self.value.abs();
        let result = size + self.error;
        let half = dtype == DType::Float16;
        // Twice: the reference rounds too. Halves have 11 bits, and no unit below 2⁻²⁴.
        let rounding = 2.0 * if half { (result / 2048.0).max(0.5f64.powi(25)) } else { result * UNIT };
        let error = self.error + rounding + result * UNIT + FLUSHED;
        // One of the two may be infinite, and the other the greatest half.
        if half && size - error < BEYOND_HALF && size + error >= BEYOND_HALF {
            return f32::INFINITY;
        }
        bound(error, self.largest.max(size + error))
    }
}

/// A sum of products in f32, and what it may be off by.
#[derive(Default, Clone, Copy)]
pub(super) struct Products {
    pub value: f64,
    /// The sum of the sizes of all products; infinite where one is of no finite numbers.
    pub size: f64,
    /// What subnormal factors that count as zero cost.
    lost: f64,
}

impl Products {
    pub(super) fn add(&mut self, a: f64, b: f64) {
        self.value += a * b;
        self.size += (a * b).abs();
        self.lost += flushed(a, b);
    }

    /// The bound of the sum of `terms` products times `scale`, of which each goes through so many operations, two units each.
    pub(super) fn tolerance(&self, terms: usize, operations: usize, scale: f64) -> f32 {
        let unscaled = 2.0 * UNIT * operations as f64 * self.size + self.lost + 4.0 * (terms + 1) as f64 * FLUSHED;
        let scaled = scale.abs() * unscaled + flushed(scale, self.size) + FLUSHED;
        bound(scaled, (self.size + unscaled).max(scale.abs() * self.size + scaled))
    }
}

/// A float tensor of these values.
pub(super) fn reals(tensor_type: &TensorType, values: Vec<f32>) -> Tensor {
    let values = match tensor_type.dtype() {
        DType::Float16 => Values::Float16(values.into_iter().map(f16::from_f32).collect()),
        _ => Values::Float32(values),
    };
    Tensor::from_values(tensor_type.clone(), values)
}
