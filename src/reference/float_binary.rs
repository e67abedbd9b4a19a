//! The meaning of `ops::FloatBinary`. GPU twin: `shaders/elementwise/float_binary.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound, flushed};
use crate::error::Result;
use crate::ops::{Arithmetic, FloatBinary};
use crate::tensor::Tensor;

impl Meaning for FloatBinary {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![float_binary(self, inputs)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs))
    }
}

/// Each result, and the error from subnormal operands.
fn elements(op: &FloatBinary, inputs: &[&Tensor]) -> impl Iterator<Item = (f64, f64)> {
    let [lhs, rhs] = [inputs[0], inputs[1]].map(|tensor| tensor.values::<f32>().expect("checked by run"));
    let shape = op.output.shape();
    (0..shape.elements()).map(move |i| {
        let a = f64::from(lhs[op.lhs.shape().source_index(shape, i)]);
        let b = f64::from(rhs[op.rhs.shape().source_index(shape, i)]);
        match op.arithmetic {
            Arithmetic::Add => (a + b, 2.0 * FLUSHED),
            Arithmetic::Multiply => (a * b, flushed(a, b)),
        }
    })
}

pub(super) fn float_binary(op: &FloatBinary, inputs: &[&Tensor]) -> Tensor {
    Tensor::from_values(op.output.clone(), elements(op, inputs).map(|(value, _)| value as f32).collect())
}

/// The bound that the op documents, plus the reference's own rounding.
pub(super) fn tolerance(op: &FloatBinary, inputs: &[&Tensor]) -> Vec<f32> {
    let bound = |(value, lost): (f64, f64)| {
        let error = 2.0 * UNIT * value.abs() + lost + FLUSHED;
        bound(error, value.abs() + error)
    };
    elements(op, inputs).map(bound).collect()
}
