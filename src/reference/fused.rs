//! The meaning of `ops::Fused`: one op after the other. GPU twins: `shaders/post_op/*.wgsl`.

use super::run;
use crate::error::Result;
use crate::ops::{Fused, PostOp};
use crate::tensor::Tensor;

pub(super) fn fused(op: &Fused, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let count = op.first().inputs().len();
    let codes = run(op.first(), &inputs[..count])?;
    let mut operands: Vec<&Tensor> = inputs[count..].to_vec();
    let position = if let PostOp::Add(_, position) = op.post_op() { *position } else { 0 };
    operands.insert(position, &codes[0]);
    run(&op.then(), &operands)
}
