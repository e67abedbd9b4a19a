//! The meaning of `ops::Quantize` and `ops::Dequantize`. GPU twins: `shaders/convert/convert.wgsl` with the parts
//! `shaders/convert/step_quantize*.wgsl` and `shaders/convert/step_dequantize*.wgsl`; for int32 codes
//! `shaders/convert/rescale.wgsl`.

use super::Meaning;
use crate::error::Result;
use half::f16;

use crate::numeric::{self, Minifloat};
use crate::ops::{Dequantize, Quantize};
use crate::tensor::Tensor;

impl Meaning for Quantize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![quantize(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

impl Meaning for Dequantize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![dequantize(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn quantize(op: &Quantize, input: &Tensor) -> Tensor {
    let (output, quantization) = (op.output(), op.quantization());
    let code = |(i, x): (usize, f32)| {
        let index = quantization.granularity().index(output.shape(), i);
        let (scale, zero_point) = (quantization.scale(index), quantization.zero_point(index));
        let quotient = x / scale;
        let quotient = if op.halves_quotients() { f16::from_f32(quotient).to_f32() } else { quotient };
        // An integer stays when it is rounded again.
        let quotient = if op.rounds_away() { quotient.round() } else { quotient };
        match (Minifloat::of(output.dtype()), output.dtype().range()) {
            (Some(layout), _) => layout.encode_quotient(quotient, op.saturates()) as i32,
            // A division by 1 changes nothing.
            (None, range) => {
                let (low, high) = range.expect("an integer format");
                numeric::quantize(quotient, 1.0, zero_point, low, high)
            }
        }
    };
    Tensor::from_codes(output.clone(), input.reals().into_iter().enumerate().map(code).collect())
}

pub(super) fn dequantize(op: &Dequantize, input: &Tensor) -> Tensor {
    Tensor::from_reals(op.output().clone(), input.dequantized(op.quantization()).into_iter())
}
