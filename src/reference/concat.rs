//! The meaning of `ops::Concat`. GPU twin: `shaders/layout/concat.wgsl`.

use super::Meaning;
use super::table::lookup;
use crate::error::Result;
use crate::ops::Concat;
use crate::tensor::Tensor;

impl Meaning for Concat {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![concat(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn concat(op: &Concat, inputs: &[&Tensor]) -> Tensor {
    let dims = op.output_type().dims();
    let outer: usize = dims[..op.axis()].iter().product();
    let inner: usize = dims[op.axis() + 1..].iter().product();
    let mut codes = Vec::with_capacity(op.output_type().shape().elements());
    for index in 0..outer {
        for (table, input) in op.tables().iter().zip(inputs) {
            let run = input.dims()[op.axis()] * inner;
            codes.extend((index * run..(index + 1) * run).map(|i| lookup(table, input.code(i))));
        }
    }
    Tensor::from_codes(op.output_type().clone(), codes)
}
