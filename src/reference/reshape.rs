//! The meaning of `ops::Reshape`. GPU twin: `shaders/layout/reshape.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::Reshape;
use crate::tensor::Tensor;

impl Meaning for Reshape {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![reshape(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn reshape(op: &Reshape, input: &Tensor) -> Tensor {
    // Tensors on the host are dense, so any dimensions have this order of elements.
    input.retyped(op.output().clone())
}
