//! Results that are exact only within a bound: the exact number with the error that a device may make, and what follows for
//! the number that it stores. How large the error is, is each op's.

use half::f16;

use crate::numeric::Format;
use crate::tensor::{Tensor, TensorType, Values};

/// One f32 operation on a device is off by at most this much of its result: WGSL lets it take either neighbour.
pub(super) const UNIT: f64 = f32::EPSILON as f64;

/// What subnormal numbers that are taken for zero can cost, per operation.
pub(super) const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// An exact result before it is clamped and rounded, and the error that a device may make until then.
pub(super) struct Sum {
    pub value: f64,
    pub error: f64,
}

impl Sum {
    /// How much a result stored in this format may differ from the reference's.
    pub(super) fn tolerance(&self, format: Format) -> f32 {
        let result = self.value.abs() + self.error;
        let half = format == Format::Float16;
        // Twice: the reference rounds too. Halves have 11 bits, and no unit below 2⁻²⁴.
        let rounding = 2.0 * if half { (result / 2048.0).max(0.5f64.powi(25)) } else { result * UNIT };
        (self.error + rounding + result * UNIT + FLUSHED) as f32
    }
}

/// A float tensor of these values.
pub(super) fn reals(tensor_type: &TensorType, values: Vec<f32>) -> Tensor {
    let values = match tensor_type.format() {
        Format::Float16 => Values::Float16(values.into_iter().map(f16::from_f32).collect()),
        _ => Values::Float32(values),
    };
    Tensor::from_values(tensor_type.clone(), values)
}
