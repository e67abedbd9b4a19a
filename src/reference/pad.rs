//! The meaning of `ops::Pad`. GPU twins: `shaders/layout/rearrange.wgsl`, `shaders/layout/copy_rows.wgsl`.

use super::Meaning;
use super::rearrange::gathered;
use crate::error::Result;
use crate::ops::{Pad, PadMode};
use crate::tensor::Tensor;

impl Meaning for Pad {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![pad(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn pad(op: &Pad, input: &Tensor) -> Tensor {
    let along = |((&place, &begin), &extent): ((&usize, &usize), &usize)| {
        let (at, last) = (place as i64 - begin as i64, extent as i64 - 1);
        let at = match op.mode() {
            PadMode::Edge => at.clamp(0, last),
            // The padding is not larger than the tensor, so one reflection is enough.
            PadMode::Reflect if at < 0 => -at,
            PadMode::Reflect if at > last => 2 * last - at,
            _ => at,
        };
        (0..=last).contains(&at).then_some(at as usize)
    };
    gathered(input, op.output(), op.fill(), |place| place.iter().zip(op.begin()).zip(input.dims()).map(along).collect())
}
