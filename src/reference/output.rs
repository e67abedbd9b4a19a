//! The meaning of output stages: the element of an exact accumulator. GPU twins: `shaders/epilogue/*.wgsl`.

use crate::ops::{Output, StageEntry};
use crate::tensor::{Tensor, TensorType};

/// Collects the elements of an output, in order.
pub(super) struct Collector<'a> {
    output: &'a Output,
    codes: Vec<i32>,
    reals: Vec<f32>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, codes: Vec::new(), reals: Vec::new() }
    }

    /// Appends the next element, from its accumulator and the scale of its lhs row. The op has validated that the sum fits i32
    /// where that is needed.
    pub(super) fn push(&mut self, accumulator: i64, lhs_scale: f32, entry: StageEntry) {
        let sum = accumulator + entry.bias;
        match self.output {
            Output::Accumulator => self.codes.push(i32::try_from(sum).expect("validated when the op was made")),
            Output::Real { low, high } | Output::Float16 { low, high } => {
                let scaled = sum as f32 * (lhs_scale * entry.scale).min(f32::MAX);
                let value = entry.real_bias.map_or(scaled, |bias| scaled + bias);
                self.reals.push(clamp(value, *low, *high));
            }
            Output::Requantized(stage) => {
                self.codes.push(stage.apply(sum, entry.multiplier.expect("a requantized stage has multipliers")));
            }
        }
    }

    pub(super) fn finish(self, tensor_type: &TensorType) -> Tensor {
        match self.output {
            Output::Real { .. } | Output::Float16 { .. } => {
                Tensor::from_reals(tensor_type.clone(), self.reals.into_iter())
            }
            Output::Accumulator | Output::Requantized(_) => Tensor::from_codes(tensor_type.clone(), self.codes),
        }
    }
}

/// Clamps in the total order of f32, in which −0 is below +0.
fn clamp(value: f32, low: f32, high: f32) -> f32 {
    if value.total_cmp(&low).is_lt() {
        low
    } else if value.total_cmp(&high).is_gt() {
        high
    } else {
        value
    }
}
