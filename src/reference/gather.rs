//! The meaning of `ops::Gather`. GPU twin: `shaders/layout/gather.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::Gather;
use crate::tensor::Tensor;

impl Meaning for Gather {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let indices = inputs[1].values::<i32>()?;
        let (extent, inner) =
            (self.data.dims()[self.axis], self.data.dims()[self.axis + 1..].iter().product::<usize>());
        let source = |place: usize| {
            let (outer, chosen, rest) =
                (place / inner / indices.len(), indices[place / inner % indices.len()], place % inner);
            let index = if chosen < 0 { i64::from(chosen) + extent as i64 } else { chosen.into() };
            let inside = (0..extent as i64).contains(&index);
            inside.then(|| (outer * extent + index as usize) * inner + rest)
        };
        let sources: Vec<_> = (0..self.output.shape().elements()).map(source).collect();
        Ok(vec![inputs[0].gathered(self.output.clone(), &sources, self.fill())])
    }

    fn tolerance(&self, _: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}
