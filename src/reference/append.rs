//! The meaning of `ops::Append`. GPU twins: `shaders/layout/append.wgsl`, `append_in_place.wgsl`.

use std::ops::Range;

use super::{Meaning, rotary, run};
use crate::error::Result;
use crate::numeric::DType;
use crate::ops::{Append, Cast};
use crate::tensor::Tensor;

impl Meaning for Append {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let rows = stored_rows(self, inputs)?;
        let (written, read) = written(inputs[2], self.cache().dims()[0], self.rows().dims()[0]);
        Ok(vec![placed(inputs[0], &rows, written, read)?.with_type(self.cache().clone())])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        let errors = rotary::tolerance(self.rotary()?, &rotary_inputs(inputs), self.cache().dtype());
        let elements = self.cache().dims()[1..].iter().product::<usize>();
        let (written, read) = written(inputs[2], self.cache().dims()[0], self.rows().dims()[0]);
        let mut tolerance = vec![0.0; self.cache().shape().elements()];
        let of = |range: Range<usize>| range.start * elements..range.end * elements;
        tolerance[of(written)].copy_from_slice(&errors[of(read)]);
        Some(tolerance)
    }
}

/// The indices of a cache that are written when rows are appended at a position, and those of the rows that are written there.
pub(super) fn written(position: &Tensor, capacity: usize, count: usize) -> (Range<usize>, Range<usize>) {
    let position = i64::from(position.values::<i32>().expect("checked by run")[0]);
    let (capacity, count) = (capacity as i64, count as i64);
    let first = position.clamp(0, capacity);
    let end = (position + count).clamp(first, capacity);
    // Without a row in the cache, none is read.
    let start = (first - position).clamp(0, count) as usize;
    (first as usize..end as usize, start..start + (end - first) as usize)
}

/// A cache of whose indices some are those of rows.
pub(super) fn placed(cache: &Tensor, rows: &Tensor, written: Range<usize>, read: Range<usize>) -> Result<Tensor> {
    let index = |tensor: &Tensor, range: Range<usize>| -> Result<Tensor> {
        Ok(tensor.part(tensor.tensor_type().with_extent(range.len())?, range.start))
    };
    let parts = [index(cache, 0..written.start)?, index(rows, read)?, index(cache, written.end..cache.dims()[0])?];
    Ok(Tensor::joined(cache.tensor_type().clone(), parts.iter()))
}

/// Rows, position and table as the inputs of `ops::Rotary`.
fn rotary_inputs<'a>(inputs: &[&'a Tensor]) -> [&'a Tensor; 3] {
    [inputs[1], inputs[2], inputs[3]]
}

/// The rows as they are stored: rotated, and rounded to float16.
fn stored_rows(op: &Append, inputs: &[&Tensor]) -> Result<Tensor> {
    let rows = match op.rotary() {
        Some(rotary) => run(&rotary.clone().into(), &rotary_inputs(inputs))?.remove(0),
        None => inputs[1].clone(),
    };
    match (rows.dtype(), op.cache().dtype()) {
        (DType::Float32, DType::Float16) => {
            let cast = Cast::new(rows.tensor_type().clone(), DType::Float16).build()?;
            Ok(run(&cast.into(), &[&rows])?.remove(0))
        }
        _ => Ok(rows),
    }
}
