//! The meaning of `ops::Requantize`. GPU twin: `shaders/convert/rescale.wgsl` with the stage `shaders/epilogue/requantize.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::Requantize;
use crate::tensor::Tensor;

impl Meaning for Requantize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![requantize(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn requantize(op: &Requantize, input: &Tensor) -> Tensor {
    let shape = op.input().shape();
    let codes = (0..shape.elements())
        .map(|i| {
            let entry = op.stage().entry(0, op.granularity().index(shape, i));
            let multiplier = entry.multiplier.expect("a requantized stage has multipliers");
            op.output().apply(input.code(i).wrapping_add(entry.bias as i32), multiplier)
        })
        .collect();
    Tensor::from_codes(op.output_type().clone(), codes)
}
