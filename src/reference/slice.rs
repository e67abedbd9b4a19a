//! The meaning of `ops::Slice`. GPU twins: `shaders/rearrange.wgsl`, `shaders/copy_rows.wgsl`.

use super::rearrange::gathered;
use crate::ops::Slice;
use crate::tensor::Tensor;

pub(super) fn slice(op: &Slice, input: &Tensor) -> Tensor {
    gathered(input, op.output(), 0, |place| {
        Some(op.indices().iter().zip(place).map(|(indices, &index)| indices.source(index)).collect())
    })
}
