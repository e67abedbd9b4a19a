//! The meaning of `ops::Transpose`. GPU twins: `shaders/layout/rearrange.wgsl`, `shaders/layout/copy_rows.wgsl`.

use super::Meaning;
use super::rearrange::gathered;
use crate::error::Result;
use crate::ops::Transpose;
use crate::tensor::Tensor;

impl Meaning for Transpose {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![transpose(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn transpose(op: &Transpose, input: &Tensor) -> Tensor {
    gathered(input, op.output(), 0, |place| {
        let mut source = vec![0; place.len()];
        for (&axis, &index) in op.order().iter().zip(place) {
            source[axis] = index;
        }
        Some(source)
    })
}
