//! The shared part of the references of `Transpose`, `Slice`, `Pad` and `Resize`, which only move elements. Each of them defines
//! the source of an element.

use crate::tensor::{Tensor, TensorType};

/// The tensor whose element at each position is the input's at the position `source` returns, or the code `fill`.
pub(super) fn gathered(
    input: &Tensor,
    output: &TensorType,
    fill: i32,
    source: impl Fn(&[usize]) -> Option<Vec<usize>>,
) -> Tensor {
    let (extents, dimensions) = (input.dims(), output.dims());
    let mut place = vec![0; dimensions.len()];
    let mut sources = Vec::with_capacity(output.shape().elements());
    for index in 0..output.shape().elements() {
        let mut rest = index;
        for (place, extent) in place.iter_mut().zip(dimensions).rev() {
            (*place, rest) = (rest % extent, rest / extent);
        }
        let linear = |source: Vec<usize>| source.iter().zip(extents).fold(0, |linear, (i, extent)| linear * extent + i);
        sources.push(source(&place).map(linear));
    }
    input.gathered(output.clone(), &sources, fill)
}
