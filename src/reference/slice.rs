//! The meaning of `ops::Slice`. GPU twins: `shaders/layout/rearrange.wgsl`, `shaders/layout/copy_rows.wgsl`.

use super::Meaning;
use super::rearrange::gathered;
use crate::error::Result;
use crate::ops::Slice;
use crate::tensor::Tensor;

impl Meaning for Slice {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![slice(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn slice(op: &Slice, input: &Tensor) -> Tensor {
    gathered(input, op.output(), 0, |place| {
        Some(op.indices().iter().zip(place).map(|(indices, &index)| indices.source(index)).collect())
    })
}
