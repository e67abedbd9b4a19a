//! The meaning of `ops::Softmax`, in f64. GPU twin: `shaders/softmax.wgsl`.

use super::bound::UNIT;
use crate::ops::Softmax;
use crate::tensor::{Tensor, Values};

/// Each share, and how far a device may be from it.
fn elements(op: &Softmax, input: &Tensor) -> Vec<(f64, f64)> {
    let x = input.values::<f32>().expect("checked by run");
    let n = op.tensor_type.shape().row_length();
    let mut elements = Vec::with_capacity(x.len());
    for row in x.chunks_exact(n.max(1)) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let depths: Vec<f64> = row.iter().map(|&x| f64::from(op.scale) * (f64::from(most) - f64::from(x))).collect();
        let powers: Vec<f64> = depths.iter().map(|depth| (-depth).exp()).collect();
        let total: f64 = powers.iter().sum();
        let mean = depths.iter().zip(&powers).map(|(depth, power)| depth.min(128.0) * power).sum::<f64>() / total;
        for (depth, power) in depths.iter().zip(&powers) {
            let share = power / total;
            let units = n as f64 + 4.0 * depth.min(128.0) + 4.0 * mean + 16.0;
            elements.push((share, 1.25 * UNIT * units * share + 0.5f64.powi(120)));
        }
    }
    elements
}

pub(super) fn softmax(op: &Softmax, input: &Tensor) -> Tensor {
    let values = elements(op, input).into_iter().map(|(share, _)| share as f32).collect();
    Tensor::from_values(op.tensor_type.clone(), Values::Float32(values))
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &Softmax, input: &Tensor) -> Vec<f32> {
    elements(op, input).into_iter().map(|(_, error)| error as f32).collect()
}
