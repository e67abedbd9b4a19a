//! The meaning of `ops::FloatMatmul`, and the error bound of a device. GPU twins: `shaders/gemm/float_matmul.wgsl` and
//! `shaders/gemm/float_matmul_workgroup.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, Sum, UNIT, flushed};
use crate::error::Result;
use crate::ops::{FloatMatmul, Operand, Sizes};
use crate::tensor::Tensor;

impl Meaning for FloatMatmul {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![float_matmul(self, inputs)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs))
    }
}

pub(super) fn float_matmul(op: &FloatMatmul, inputs: &[&Tensor]) -> Tensor {
    let (low, high) = op.bounds();
    let values = sums(op, inputs, |sum| (sum.value as f32).max(low).min(high));
    Tensor::from_reals(op.output_type().clone(), values.into_iter())
}

/// The bound of each element's difference on a device, as [`FloatMatmul`] documents.
pub(super) fn tolerance(op: &FloatMatmul, inputs: &[&Tensor]) -> Vec<f32> {
    sums(op, inputs, |sum| sum.tolerance(op.output_type().dtype()))
}

/// The result of `each` for every sum, in the order of the output.
fn sums(op: &FloatMatmul, inputs: &[&Tensor], each: impl Fn(Sum) -> f32) -> Vec<f32> {
    let Sizes { m, n, k } = op.sizes();
    let operand = |operand: &Operand, input: usize| match operand {
        Operand::Constant(tensor) => FloatMatmul::floats(tensor).into_owned(),
        Operand::Input(_) => FloatMatmul::floats(inputs[input]).into_owned(),
    };
    let (lhs, rhs) = (FloatMatmul::floats(inputs[0]), operand(op.rhs(), 1));
    let bias = op.bias().map(|bias| operand(bias, op.inputs_before_bias()));
    let mut values = Vec::with_capacity(op.batches().count() * m * n);
    for (lhs_matrix, rhs_matrix) in (0..op.batches().count()).map(|matrix| op.batches().pair(matrix)) {
        for row in 0..m {
            for column in 0..n {
                let (mut value, mut size, mut lost) = (0.0, 0.0, 0.0);
                for l in 0..k {
                    let x = f64::from(lhs[op.lhs_index(lhs_matrix, row, l)]);
                    let w = f64::from(rhs[op.rhs_index(rhs_matrix, l, column)]);
                    value += x * w;
                    size += (x * w).abs();
                    lost += flushed(x, w);
                }
                let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[column]));
                value += bias;
                let error = (k + 8) as f64 * (UNIT * size + FLUSHED) + lost + UNIT * value.abs() + 2.0 * FLUSHED;
                values.push(each(Sum { value, error, largest: size + error + bias.abs() }));
            }
        }
    }
    values
}
