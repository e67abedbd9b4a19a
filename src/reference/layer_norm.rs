//! The meaning of `ops::LayerNorm`, in f64. GPU twin: `shaders/elementwise/layer_norm.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound, flushed};
use crate::error::Result;
use crate::ops::LayerNorm;
use crate::tensor::Tensor;

impl Meaning for LayerNorm {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![layer_norm(self, inputs[0])])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs[0]))
    }
}

/// The power of two that divides a row before it is squared: the greatest one that is at most the row's largest magnitude, from 1
/// to 2¹²⁶, whose inverse is normal too.
fn unit(row: &[f32]) -> f64 {
    let largest = row.iter().fold(1.0, |largest: f32, x| largest.max(x.abs()));
    f64::from(f32::from_bits(largest.to_bits() & f32::INFINITY.to_bits())).min(126f64.exp2())
}

/// Each element, the error bound of a device, and an upper bound of the magnitude of any intermediate number.
///
/// Bounds are those of the divided row, in which every number is below 4. No square leaves f32. An element keeps all its digits, or
/// is so much smaller than the largest that the lost digits don't matter.
fn elements(op: &LayerNorm, input: &Tensor) -> Vec<(f64, f64, f64)> {
    let x = input.values::<f32>().expect("checked by run");
    let n = op.tensor_type.shape().row_length();
    let scale = op.scale.values::<f32>().expect("checked when made");
    let shift = op.shift.as_ref().map(|shift| shift.values::<f32>().expect("checked when made"));
    let mut elements = Vec::with_capacity(x.len());
    for row in x.chunks_exact(n.max(1)) {
        let (count, unit, finite) = (n as f64, unit(row), row.iter().all(|x| x.is_finite()));
        let epsilon = f64::from(op.epsilon) / unit / unit;
        let row: Vec<f64> = row.iter().map(|&x| f64::from(x) / unit).collect();
        let mean_of = |each: &dyn Fn(f64) -> f64| row.iter().map(|&x| each(x)).sum::<f64>() / count;
        let (mean, mean_error) = match op.centred {
            true => (mean_of(&|x| x), (count + 4.0) * UNIT * mean_of(&f64::abs) + 2.0 * FLUSHED),
            false => (0.0, 0.0),
        };
        // The error of one difference.
        let off = |difference: f64| match op.centred {
            true => mean_error + UNIT * (difference.abs() + mean_error) + 2.0 * FLUSHED,
            false => FLUSHED,
        };
        let variance = mean_of(&|x| (x - mean) * (x - mean));
        let moved = mean_of(&|x| {
            let error = off(x - mean);
            2.0 * (x - mean).abs() * error + error * error
        });
        let variance_error = moved + (count + 6.0) * UNIT * (variance + moved) + 4.0 * FLUSHED;
        // The argument of the root is kept normal.
        let size = variance + epsilon;
        let factor = 1.0 / size.sqrt();
        let most = 1.0 / (size - variance_error).max(epsilon - 2.0 * FLUSHED).max(FLUSHED).sqrt() * (1.0 + 6.0 * UNIT);
        let least = 1.0 / (size + variance_error + FLUSHED).sqrt() * (1.0 - 6.0 * UNIT);
        for (i, &x) in row.iter().enumerate() {
            let (difference, scale) = (x - mean, f64::from(scale[i]));
            let shift = shift.map_or(0.0, |shift| f64::from(shift[i]));
            let normal = difference * factor;
            let value = normal * scale + shift;
            let quotient = off(difference) * most + difference.abs() * (most - factor).max(factor - least) + FLUSHED;
            let product = quotient * scale.abs() + 2.0 * UNIT * (normal * scale).abs() + flushed(normal, scale);
            let error = 1.01 * product + 2.0 * UNIT * (value.abs() + product) + 4.0 * FLUSHED;
            let largest = ((normal.abs() + quotient) * scale.abs()).max(value.abs()) + error + shift.abs();
            elements.push((value, error, if finite { largest } else { f64::INFINITY }));
        }
    }
    elements
}

pub(super) fn layer_norm(op: &LayerNorm, input: &Tensor) -> Tensor {
    let values = elements(op, input).into_iter().map(|(value, ..)| value as f32).collect();
    Tensor::from_values(op.tensor_type.clone(), values)
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &LayerNorm, input: &Tensor) -> Vec<f32> {
    elements(op, input).into_iter().map(|(_, error, largest)| bound(error, largest)).collect()
}
