//! The meaning of `ops::CrossEntropyGradient`. GPU twin: `shaders/train/cross_entropy.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, bound};
use crate::error::Result;
use crate::ops::CrossEntropyGradient;
use crate::tensor::Tensor;

impl Meaning for CrossEntropyGradient {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![cross_entropy_gradient(self, inputs)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs))
    }
}

/// Each element of the gradient, and the error bound of a device.
fn elements(op: &CrossEntropyGradient, inputs: &[&Tensor]) -> Vec<(f64, f64)> {
    let logits = inputs[0].values::<f32>().expect("checked by run");
    let labels = inputs[1].values::<i32>().expect("checked by run");
    let (rows, classes) = (op.logits.dims()[0], op.logits.dims()[1]);
    let mut elements = Vec::with_capacity(logits.len());
    for (row, &label) in logits.chunks_exact(classes).zip(labels) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // A difference that leaves f32 is so large that its power is 0.
        let depths: Vec<f64> = row.iter().map(|&x| f64::from(most) - f64::from(x)).collect();
        let depth = depths.iter().copied().fold(0.0, f64::max);
        let powers: Vec<f64> = depths.iter().map(|depth| (-depth).exp()).collect();
        let total: f64 = powers.iter().sum();
        let unbounded = row.iter().any(|x| !x.is_finite());
        let known = usize::try_from(label).is_ok_and(|label| label < classes);
        for (class, power) in powers.into_iter().enumerate() {
            let softmax = power / total;
            let value = if known { softmax - f64::from(u8::from(class as i64 == i64::from(label))) } else { 0.0 };
            let units = classes as f64 + 4.0 * depth.min(120.0) + 24.0;
            let error = (units * softmax + 4.0 * value.abs()) * 2f64.powi(-22) + 2f64.powi(-120);
            let error = if unbounded { f64::INFINITY } else { error / rows as f64 + FLUSHED };
            elements.push((value / rows as f64, error));
        }
    }
    elements
}

pub(super) fn cross_entropy_gradient(op: &CrossEntropyGradient, inputs: &[&Tensor]) -> Tensor {
    let values = elements(op, inputs).into_iter().map(|(value, _)| value as f32).collect();
    Tensor::from_values(op.logits.clone(), values)
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &CrossEntropyGradient, inputs: &[&Tensor]) -> Vec<f32> {
    elements(op, inputs).into_iter().map(|(value, error)| bound(error, value.abs())).collect()
}
