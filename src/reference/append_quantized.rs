//! The meaning of `ops::AppendQuantized`. GPU twin: `shaders/layout/append_quantized.wgsl`.

use super::append::{placed, written};
use super::dynamic::dynamic_quantize;
use super::{Meaning, rotary};
use crate::error::Result;
use crate::ops::AppendQuantized;
use crate::tensor::Tensor;

impl Meaning for AppendQuantized {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let rows = match self.rotary() {
            Some(op) => rotary::exact(op, &[inputs[2], inputs[3], inputs[4]]),
            None => inputs[2].clone(),
        };
        let made = dynamic_quantize(self.quantize(), &rows);
        let (written, read) = written(inputs[3], self.cache().dims()[0], self.rows().dims()[0]);
        let types = [self.cache(), self.parameters()];
        let placed = |(i, made): (usize, Tensor)| {
            let rows = types[i].with_extent(self.rows().dims()[0])?;
            placed(inputs[i], &made.reshaped(rows.dims())?.with_type(rows), written.clone(), read.clone())
        };
        made.into_iter().enumerate().map(placed).collect()
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}
