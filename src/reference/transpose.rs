//! The meaning of `ops::Transpose`. GPU twins: `shaders/rearrange.wgsl`, `shaders/copy_rows.wgsl`.

use super::rearrange::gathered;
use crate::ops::Transpose;
use crate::tensor::Tensor;

pub(super) fn transpose(op: &Transpose, input: &Tensor) -> Tensor {
    gathered(input, op.output(), 0, |place| {
        let mut source = vec![0; place.len()];
        for (&axis, &index) in op.order().iter().zip(place) {
            source[axis] = index;
        }
        Some(source)
    })
}
