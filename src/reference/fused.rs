//! The meaning of `ops::Fused`: two ops in sequence. GPU twins: `shaders/epilogue/post_op_*.wgsl`.

use super::{Meaning, run};
use crate::error::Result;
use crate::ops::{Fused, PostOp};
use crate::tensor::Tensor;

impl Meaning for Fused {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        fused(self, inputs)
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn fused(op: &Fused, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let count = op.first().inputs().len();
    let codes = run(op.first(), &inputs[..count])?;
    let mut operands: Vec<&Tensor> = inputs[count..].to_vec();
    let position = if let PostOp::Add(_, position) = op.post_op() { *position } else { 0 };
    operands.insert(position, &codes[0]);
    run(&op.then(), &operands)
}
