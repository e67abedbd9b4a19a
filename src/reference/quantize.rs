//! The meaning of `ops::Quantize` and `ops::Dequantize`. GPU twins: `shaders/quantize.wgsl`; `shaders/rescale.wgsl` with
//! the stage `shaders/output/real.wgsl`.

use half::f16;

use super::cast::reals;
use crate::numeric::{self, Format};
use crate::ops::{Dequantize, Quantize};
use crate::tensor::{Tensor, Values};

pub(super) fn quantize(op: &Quantize, input: &Tensor) -> Tensor {
    let (output, quantization) = (op.output(), op.quantization());
    let (low, high) = output.format().range().expect("an integer format");
    let codes = reals(input)
        .into_iter()
        .enumerate()
        .map(|(i, x)| {
            let index = quantization.granularity().index(output.shape(), i);
            numeric::quantize(x, quantization.scale(index), quantization.zero_point(index), low, high)
        })
        .collect();
    Tensor::from_codes(output.clone(), codes)
}

pub(super) fn dequantize(op: &Dequantize, input: &Tensor) -> Tensor {
    let (input_type, quantization) = (op.input(), op.quantization());
    let reals = (0..input_type.shape().elements()).map(|i| {
        let index = op.granularity().index(input_type.shape(), i);
        (input.code(i) - quantization.zero_point(index)) as f32 * quantization.scale(index)
    });
    let values = match op.output().format() {
        Format::Float16 => Values::Float16(reals.map(f16::from_f32).collect()),
        _ => Values::Float32(reals.collect()),
    };
    Tensor::from_values(op.output().clone(), values)
}
