//! The meaning of `ops::Append`. GPU twins: `shaders/layout/append.wgsl`, `append_in_place.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::Append;
use crate::tensor::Tensor;

impl Meaning for Append {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (cache, rows) = (inputs[0], inputs[1]);
        let position = i64::from(inputs[2].values::<i32>()?[0]);
        let (capacity, count) = (self.cache().dims()[0] as i64, self.rows().dims()[0] as i64);
        let index = |tensor: &Tensor, first: i64, end: i64| -> Result<Tensor> {
            let (first, end) = (first.max(0) as usize, end.max(0) as usize);
            Ok(tensor.part(tensor.tensor_type().with_extent(end.saturating_sub(first))?, first))
        };
        // The indices of the cache that are written.
        let first = position.clamp(0, capacity);
        let end = (position + count).clamp(first, capacity);
        let parts =
            [index(cache, 0, first)?, index(rows, first - position, end - position)?, index(cache, end, capacity)?];
        Ok(vec![Tensor::joined(self.cache().clone(), parts.iter())])
    }

    fn tolerance(&self, _: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}
