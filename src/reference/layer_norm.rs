//! The meaning of `ops::LayerNorm`, in f64. GPU twin: `shaders/layer_norm.wgsl`.

use super::bound::{FLUSHED, UNIT};
use crate::ops::LayerNorm;
use crate::tensor::{Tensor, Values};

/// Each element, and how far a device may be from it.
fn elements(op: &LayerNorm, input: &Tensor) -> Vec<(f64, f64)> {
    let x = input.values::<f32>().expect("checked by run");
    let n = op.tensor_type.shape().row_length();
    let scale = op.scale.values::<f32>().expect("checked when made");
    let shift = op.shift.as_ref().map(|shift| shift.values::<f32>().expect("checked when made"));
    let epsilon = f64::from(op.epsilon);
    let mut elements = Vec::with_capacity(x.len());
    for row in x.chunks_exact(n.max(1)) {
        let count = n as f64;
        let mean_of = |each: &dyn Fn(f64) -> f64| row.iter().map(|&x| each(x.into())).sum::<f64>() / count;
        let (mean, mean_error) = match op.centred {
            true => (mean_of(&|x| x), (count + 4.0) * UNIT * mean_of(&f64::abs) + FLUSHED),
            false => (0.0, 0.0),
        };
        // Of one difference.
        let off = |difference: f64| match op.centred {
            true => mean_error + UNIT * (difference.abs() + mean_error),
            false => 0.0,
        };
        let variance = mean_of(&|x| (x - mean) * (x - mean));
        let moved = mean_of(&|x| {
            let error = off(x - mean);
            2.0 * (x - mean).abs() * error + error * error
        });
        let variance_error = moved + (count + 6.0) * UNIT * (variance + moved) + 2.0 * FLUSHED;
        let factor = 1.0 / (variance + epsilon).sqrt();
        let most = 1.0 / (variance + epsilon - variance_error).max(epsilon).sqrt() * (1.0 + 6.0 * UNIT);
        let least = 1.0 / (variance + epsilon + variance_error).sqrt() * (1.0 - 6.0 * UNIT);
        for (i, &x) in row.iter().enumerate() {
            let (difference, size) = (f64::from(x) - mean, f64::from(scale[i]));
            let shift = shift.map_or(0.0, |shift| f64::from(shift[i]));
            let value = difference * factor * size + shift;
            let quotient = off(difference) * most + difference.abs() * (most - factor).max(factor - least);
            let product = quotient * size.abs() + 2.0 * UNIT * (difference * factor * size).abs();
            elements.push((value, 1.01 * product + 2.0 * UNIT * (value.abs() + product) + 3.0 * FLUSHED));
        }
    }
    elements
}

pub(super) fn layer_norm(op: &LayerNorm, input: &Tensor) -> Tensor {
    let values = elements(op, input).into_iter().map(|(value, _)| value as f32).collect();
    Tensor::from_values(op.tensor_type.clone(), Values::Float32(values))
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &LayerNorm, input: &Tensor) -> Vec<f32> {
    elements(op, input).into_iter().map(|(_, error)| error as f32).collect()
}
