//! The meaning of `ops::Fused`: two ops in sequence. GPU twins: `shaders/epilogue/post_op_*.wgsl` and `float_post_op_*.wgsl`.

use super::bound::{FLUSHED, UNIT, bound};
use super::{Meaning, run, tolerance};
use crate::error::Result;
use crate::ops::{Arithmetic, Fused, PostOp};
use crate::tensor::Tensor;

impl Meaning for Fused {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (first, then) = divided(self, inputs);
        let made = run(self.first(), first)?.remove(0);
        run(&self.then(), &operands(self, &made, then))
    }

    /// A device's intermediate number x' is within e of the reference's x. Its result is then off by the error of the second op at
    /// x', and by the difference of the exact results of both.
    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        let (first, then) = divided(self, inputs);
        let made = run(self.first(), first).expect("checked by the caller").remove(0);
        let operands = operands(self, &made, then);
        // Integers have no bound.
        let own = tolerance(&self.then(), &operands).expect("checked by the caller")?;
        let errors = tolerance(self.first(), first).expect("checked by the caller")?;
        let passed = |element: usize| match self.post_op() {
            PostOp::FloatUnary(_) => [STEEPEST + SLOPE_OF_ERRORS, 0.0],
            PostOp::FloatBinary(op, position) => match op.arithmetic {
                Arithmetic::Add => [1.0 + 2.0 * UNIT, 0.0],
                // Where x' is subnormal, the whole product may be lost.
                Arithmetic::Multiply => {
                    let factor = f64::from(operands[1 - position].values::<f32>().expect("a float")[element].abs());
                    [factor * (1.0 + 2.0 * UNIT), 2.0 * factor * FLUSHED]
                }
            },
            PostOp::Table(_) | PostOp::Add(..) | PostOp::Quantize(_) | PostOp::Dequantize(_) => [0.0, 0.0],
        };
        let results = run(&self.then(), &operands).expect("checked by the caller").remove(0);
        let results = results.values::<f32>().expect("floats");
        let total = |(element, (&own, &error)): (usize, (&f32, &f32))| {
            let [slope, lost] = passed(element);
            let error = f64::from(own) + slope * f64::from(error) + lost;
            bound(error, f64::from(results[element].abs()) + error)
        };
        Some(own.iter().zip(&errors).enumerate().map(total).collect())
    }
}

/// The greatest slope of a function of one number: that of GELU, 1.1290 at √2.
pub(super) const STEEPEST: f64 = 1.13;

/// The greatest slope of the error bound of a function of one number: 2⁻¹⁷ for GELU, less for the others; twice that.
pub(super) const SLOPE_OF_ERRORS: f64 = 128.0 * UNIT;

/// The inputs of the first op, and those of the second that the first doesn't make.
fn divided<'a, 'b>(op: &Fused, inputs: &'a [&'b Tensor]) -> (&'a [&'b Tensor], &'a [&'b Tensor]) {
    inputs.split_at(op.first().inputs().len())
}

/// The inputs of the second op.
fn operands<'a>(op: &Fused, made: &'a Tensor, others: &[&'a Tensor]) -> Vec<&'a Tensor> {
    let mut operands = others.to_vec();
    operands.insert(op.post_op().position(), made);
    operands
}
