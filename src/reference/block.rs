//! The meaning of `ops::BlockQuantize` and `ops::BlockDequantize`. GPU twins: `shaders/block_scales.wgsl`, and
//! `shaders/convert.wgsl` with `shaders/parameters/*_blocks.wgsl`.

use half::f16;

use crate::numeric::{self, BlockFormat, BlockRounding, BlockScales, Format, Minifloat, decode_power};
use crate::ops::{BlockDequantize, BlockQuantize};
use crate::tensor::{Tensor, Values};

pub(super) fn block_quantize(op: &BlockQuantize, input: &Tensor) -> Vec<Tensor> {
    let format = op.format();
    let (mut elements, mut scales) = (Vec::new(), Vec::new());
    for row in input.reals().chunks(input.tensor_type().shape().row_length().max(1)) {
        for block in row.chunks(format.size()) {
            let sizes = block.iter().filter(|x| !x.is_nan()).map(|x| x.abs().min(f32::MAX));
            let code = scale_code(format, sizes.fold(0.0, f32::max));
            let scale = scale(format, code);
            elements.extend(block.iter().map(|&x| match Minifloat::of(format.element()) {
                Some(layout) if layout.width < 8 && x / scale == 0.0 => 0,
                Some(layout) => layout.encode(x / scale, true) as i32,
                None => numeric::quantize(x, scale, 0, -127, 127),
            }));
            scales.push(code as i32);
        }
    }
    vec![Tensor::from_codes(op.elements().clone(), elements), Tensor::from_codes(op.scales().clone(), scales)]
}

pub(super) fn block_dequantize(op: &BlockDequantize, inputs: &[&Tensor]) -> Tensor {
    let format = op.format();
    let row = op.elements().shape().row_length();
    let blocks = row.div_ceil(format.size());
    let reals = inputs[0].reals().into_iter().enumerate().map(|(i, x)| {
        let block = i / row * blocks + i % row / format.size();
        match scale(format, inputs[1].code(block) as u32) {
            scale if scale.is_nan() => f32::NAN,
            _ if !x.is_finite() => x,
            scale => x * scale,
        }
    });
    let values = match op.output().format() {
        Format::Float16 => Values::Float16(reals.map(f16::from_f32).collect()),
        _ => Values::Float32(reals.collect()),
    };
    Tensor::from_values(op.output().clone(), values)
}

/// The code of the scale of a block whose numbers are at most of this size.
fn scale_code(format: BlockFormat, size: f32) -> u32 {
    match format.scales() {
        BlockScales::Nested(global) => {
            let layout = Minifloat::of(Format::Float8E4M3Fn).expect("a small float");
            layout.encode((size / 6.0 / global).clamp(1.0 / 64.0, 448.0), true)
        }
        BlockScales::Powers(rounding) => {
            let greatest = match Minifloat::of(format.element()) {
                Some(layout) => layout.decode(layout.greatest),
                None => 127.0 / 64.0,
            };
            // Exact in f64: no power of two below is subnormal, and a quotient only has to be compared.
            let powers = (0..=254).map(|code| (code, f64::from(decode_power(code))));
            let (size, greatest) = (f64::from(size), f64::from(greatest));
            let fits = |power: f64| match rounding {
                BlockRounding::Floor => size < 2.0 * power * f64::from(1u32 << greatest.log2() as u32),
                BlockRounding::Ceil => size <= greatest * power,
            };
            powers.into_iter().find(|&(_, power)| fits(power)).map_or(254, |(code, _)| code)
        }
    }
}

/// What elements are multiplied by.
fn scale(format: BlockFormat, code: u32) -> f32 {
    let layout = Minifloat::of(format.scale());
    layout.map_or_else(|| decode_power(code), |layout| layout.decode(code)) * format.unit()
}
