//! Data types and rounding: the number of a code, and the code of an accumulator. Pure arithmetic on single numbers; tensors,
//! granularity and devices are elsewhere.

mod block;
pub(crate) mod format;
mod minifloat;
mod narrow;
pub(crate) mod rounding;
mod sort;

pub(crate) use block::BlockScales;
pub use block::{BlockFormat, BlockRounding};
pub(crate) use format::DType;
pub(crate) use format::{Encoding, each_dtype, element};
pub use minifloat::*;
pub use narrow::*;
pub(crate) use rounding::{Multiplier, Rounding};
pub(crate) use sort::{sort_indices, sort_indices_by};

/// A scale and a zero point: `real = scale · (code − zero_point)`. Dynamic quantization computes them on the device.
#[derive(Debug, Clone, Copy, PartialEq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct QuantizationParams {
    /// The distance of the numbers of neighbouring codes.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: i32,
}

impl QuantizationParams {
    /// These parameters.
    #[must_use]
    pub const fn new(scale: f32, zero_point: i32) -> Self {
        Self { scale, zero_point }
    }
}

/// The nearest integer, ties to even, clamped to `low..=high`; NaN becomes `low`.
///
/// ```
/// assert_eq!(lowbit::numeric::round_saturating(2.5, -128, 127), 2);
/// assert_eq!(lowbit::numeric::round_saturating(f32::INFINITY, -128, 127), 127);
/// assert_eq!(lowbit::numeric::round_saturating(f32::NAN, -128, 127), -128);
/// ```
#[must_use]
pub fn round_saturating(value: f32, low: i32, high: i32) -> i32 {
    if value.is_nan() {
        return low;
    }
    // f64 holds every i32, so the comparisons and the conversion are exact.
    f64::from(value.round_ties_even()).max(f64::from(low)).min(f64::from(high)) as i32
}

/// The finite number nearest to x; 0 for NaN. GPU twin: `shaders/math/float_bits.wgsl`.
pub(crate) fn finite(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.clamp(f32::MIN, f32::MAX) }
}

/// The positive normal number nearest to x; the least one for NaN. GPU twin: `shaders/math/float_bits.wgsl`.
#[cfg(feature = "train")]
pub(crate) fn positive(x: f32) -> f32 {
    if x.is_nan() { f32::MIN_POSITIVE } else { x.clamp(f32::MIN_POSITIVE, f32::MAX) }
}

/// The code of one real number: `saturate(round_ties_even(value / scale) + zero_point)`, with division in f32 (ONNX
/// QuantizeLinear). NaN becomes `low`; infinities saturate.
///
/// ```
/// assert_eq!(lowbit::numeric::quantize(0.3, 0.1, 128, 0, 255), 131);
/// ```
#[must_use]
pub fn quantize(value: f32, scale: f32, zero_point: i32, low: i32, high: i32) -> i32 {
    if value.is_nan() {
        return low;
    }
    let steps = f64::from((value / scale).round_ties_even()) + f64::from(zero_point);
    steps.max(f64::from(low)).min(f64::from(high)) as i32
}
