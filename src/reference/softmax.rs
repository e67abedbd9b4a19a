//! The meaning of `ops::Softmax`, in f64. GPU twin: `shaders/elementwise/softmax.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound};
use crate::error::Result;
use crate::ops::Softmax;
use crate::tensor::Tensor;

impl Meaning for Softmax {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![softmax(self, inputs[0])])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs[0]))
    }
}

/// Each share, and the error bound of a device.
fn elements(op: &Softmax, input: &Tensor) -> Vec<(f64, f64)> {
    let x = input.values::<f32>().expect("checked by run");
    let n = op.tensor_type.shape().row_length();
    let scale = f64::from(op.scale);
    // The effect of flushed subnormal numbers and differences on exponents.
    let lost = (4.0 * FLUSHED * scale).exp_m1();
    let mut elements = Vec::with_capacity(x.len());
    for row in x.chunks_exact(n.max(1)) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = row.iter().copied().fold(f32::INFINITY, f32::min);
        // A difference that leaves f32 is so large that its power is 0, unless the scale is very small.
        let leaves = f64::from(most) - f64::from(least) > f64::from(f32::MAX) && scale * f64::from(f32::MAX) < 128.0;
        // Devices may compute a power of two instead, with the scale multiplied by log2(e) first.
        let unbounded =
            leaves || scale * std::f64::consts::LOG2_E > f64::from(f32::MAX) || row.iter().any(|x| !x.is_finite());
        let depths: Vec<f64> = row.iter().map(|&x| scale * (f64::from(most) - f64::from(x))).collect();
        let powers: Vec<f64> = depths.iter().map(|depth| (-depth).exp()).collect();
        let total: f64 = powers.iter().sum();
        let mean = depths.iter().zip(&powers).map(|(depth, power)| depth.min(128.0) * power).sum::<f64>() / total;
        for (depth, power) in depths.iter().zip(&powers) {
            let share = power / total;
            let units = n as f64 + 4.0 * depth.min(128.0) + 4.0 * mean + 16.0;
            let error = (1.25 * UNIT * units + lost) * share + 0.5f64.powi(120);
            elements.push((share, if unbounded { f64::INFINITY } else { error }));
        }
    }
    elements
}

pub(super) fn softmax(op: &Softmax, input: &Tensor) -> Tensor {
    let values = elements(op, input).into_iter().map(|(share, _)| share as f32).collect();
    Tensor::from_values(op.tensor_type.clone(), values)
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &Softmax, input: &Tensor) -> Vec<f32> {
    elements(op, input).into_iter().map(|(share, error)| bound(error, share)).collect()
}
