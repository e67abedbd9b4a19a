//! The meaning of `ops::Quantize` and `ops::Dequantize`. GPU twins: `shaders/quantize.wgsl`; `shaders/rescale.wgsl` with
//! the stage `shaders/output/real.wgsl`.

use crate::numeric::{self, Format};
use crate::ops::{Dequantize, Quantize};
use crate::tensor::{Tensor, TensorType, Values};

pub(super) fn quantize(op: &Quantize, input: &Tensor) -> Tensor {
    let (output, quantization) = (op.output(), op.quantization());
    let (low, high) = output.format().range().expect("an integer format");
    let values = input.values::<f32>().expect("checked by run");
    let codes = values
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let index = quantization.granularity().index(output.shape(), i);
            numeric::quantize(x, quantization.scale(index), quantization.zero_point(index), low, high)
        })
        .collect();
    Tensor::from_codes(output.clone(), codes)
}

pub(super) fn dequantize(op: &Dequantize, input: &Tensor) -> Tensor {
    let (input_type, quantization) = (op.input(), op.quantization());
    let values = (0..input_type.shape().elements())
        .map(|i| {
            let index = op.granularity().index(input_type.shape(), i);
            (input.code(i) - quantization.zero_point(index)) as f32 * quantization.scale(index)
        })
        .collect();
    let plain = TensorType::new(Format::Float32, input_type.dimensions()).expect("the input's shape");
    Tensor::from_values(plain, Values::Float32(values))
}
