//! The meaning of `ops::FloatBinary`. GPU twin: `shaders/float_binary.wgsl`.

use super::bound::{FLUSHED, UNIT};
use crate::ops::{Arithmetic, FloatBinary};
use crate::tensor::{Tensor, Values};

fn elements(op: &FloatBinary, inputs: &[&Tensor]) -> impl Iterator<Item = f64> {
    let [lhs, rhs] = [inputs[0], inputs[1]].map(|tensor| tensor.values::<f32>().expect("checked by run"));
    let shape = op.output.shape();
    (0..shape.elements()).map(move |i| {
        let a = f64::from(lhs[op.lhs.shape().source_index(shape, i)]);
        let b = f64::from(rhs[op.rhs.shape().source_index(shape, i)]);
        match op.arithmetic {
            Arithmetic::Add => a + b,
            Arithmetic::Multiply => a * b,
        }
    })
}

pub(super) fn float_binary(op: &FloatBinary, inputs: &[&Tensor]) -> Tensor {
    Tensor::from_values(op.output.clone(), Values::Float32(elements(op, inputs).map(|value| value as f32).collect()))
}

/// The bound that the op documents, and the reference's own rounding.
pub(super) fn tolerance(op: &FloatBinary, inputs: &[&Tensor]) -> Vec<f32> {
    elements(op, inputs).map(|value| (2.0 * UNIT * value.abs() + 3.0 * FLUSHED) as f32).collect()
}
