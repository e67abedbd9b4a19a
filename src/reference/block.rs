//! The meaning of `ops::BlockQuantize` and `ops::BlockDequantize`. GPU twins: `shaders/convert/block_scales.wgsl`, and
//! `shaders/convert/convert.wgsl` with `shaders/convert/scales_blocks.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric::{self, Minifloat};
use crate::ops::{BlockDequantize, BlockQuantize};
use crate::tensor::Tensor;

impl Meaning for BlockQuantize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(block_quantize(self, inputs[0]))
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

impl Meaning for BlockDequantize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![block_dequantize(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn block_quantize(op: &BlockQuantize, input: &Tensor) -> Vec<Tensor> {
    let dtype = op.format();
    let (mut elements, mut scales) = (Vec::new(), Vec::new());
    for row in input.reals().chunks(input.tensor_type().shape().row_length().max(1)) {
        for block in row.chunks(dtype.size()) {
            let sizes = block.iter().filter(|x| !x.is_nan()).map(|x| x.abs().min(f32::MAX));
            let code = dtype.scale_code(sizes.fold(0.0, f32::max));
            let scale = dtype.scale_number(code) * dtype.unit();
            elements.extend(block.iter().map(|&x| match Minifloat::of(dtype.element()) {
                Some(layout) => layout.encode_quotient(x / scale, true) as i32,
                None => numeric::quantize(x, scale, 0, -127, 127),
            }));
            scales.push(code as i32);
        }
    }
    vec![Tensor::from_codes(op.elements().clone(), elements), Tensor::from_codes(op.scales().clone(), scales)]
}

pub(super) fn block_dequantize(op: &BlockDequantize, inputs: &[&Tensor]) -> Tensor {
    let dtype = op.format();
    let row = op.elements().shape().row_length();
    let blocks = row.div_ceil(dtype.size());
    let reals = inputs[0].reals().into_iter().enumerate().map(|(i, x)| {
        let block = i / row * blocks + i % row / dtype.size();
        match dtype.scale_number(inputs[1].code(block) as u32) * dtype.unit() {
            scale if scale.is_nan() => f32::NAN,
            _ if !x.is_finite() => x,
            scale => x * scale,
        }
    });
    Tensor::from_reals(op.output().clone(), reals)
}
