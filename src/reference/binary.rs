//! The meaning of `ops::Add` and `ops::Multiply`. GPU twins: `shaders/elementwise/add.wgsl`, `shaders/elementwise/multiply.wgsl`
//! with the parts `shaders/elementwise/addition_*.wgsl` and `shaders/elementwise/multiplication_*.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric;
use crate::ops::{Add, Addition, Binary, CommonScale, Multiply, QuantizedArithmetic};
use crate::tensor::Tensor;

impl Meaning for Add {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![add(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

impl Meaning for Multiply {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![multiply(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn add(op: &Add, inputs: &[&Tensor]) -> Tensor {
    let [(lhs_scale, lhs_zero_point), (rhs_scale, rhs_zero_point)] = op.binary().parameters();
    let output = &op.binary().output;
    let (scale, zero_point, (low, high)) = (output.scale(), output.zero_point(), output.bounds());
    each(op.binary(), inputs, |a, b| match op.addition() {
        Addition::QOperator(ratios) => {
            let (a, b) = (a as f32, b as f32);
            let sum = match ratios.lhs_first {
                true => b.mul_add(ratios.rhs, a.mul_add(ratios.lhs, ratios.offset)),
                false => a.mul_add(ratios.lhs, b.mul_add(ratios.rhs, ratios.offset)),
            };
            numeric::round_saturating(sum, low, high)
        }
        Addition::Qdq => {
            let (a, b) = ((a - lhs_zero_point) as f32 * lhs_scale, (b - rhs_zero_point) as f32 * rhs_scale);
            numeric::quantize(a + b, scale, zero_point, low, high)
        }
        Addition::Integer(CommonScale { operands, output: last, subtract }) => {
            let finer = |steps: i32, multiplier| output.mode().rescale(steps << CommonScale::SHIFT, multiplier);
            let (a, b) = (finer(a - lhs_zero_point, operands[0]), finer(b - rhs_zero_point, operands[1]));
            output.apply(if subtract { a - b } else { a + b }, last)
        }
    })
}

pub(super) fn multiply(op: &Multiply, inputs: &[&Tensor]) -> Tensor {
    let multiplier = op.stage.entry(0, 0).multiplier.expect("a requantized stage has multipliers");
    let [(lhs_scale, lhs_zero_point), (rhs_scale, rhs_zero_point)] = op.binary.parameters();
    let output = &op.binary.output;
    let (scale, zero_point, (low, high)) = (output.scale(), output.zero_point(), output.bounds());
    each(&op.binary, inputs, |a, b| {
        let (a, b) = (a - lhs_zero_point, b - rhs_zero_point);
        match op.arithmetic {
            QuantizedArithmetic::QOperator => {
                let product = (a * b) as f32 * f32::from_bits(multiplier.words().0);
                numeric::round_saturating(product + zero_point as f32, low, high)
            }
            QuantizedArithmetic::Qdq => {
                let product = (a as f32 * lhs_scale) * (b as f32 * rhs_scale);
                numeric::quantize(product, scale, zero_point, low, high)
            }
            QuantizedArithmetic::Integer | QuantizedArithmetic::Codes => output.apply(a * b, multiplier),
        }
    })
}

/// The codes that `function` computes from each pair of codes.
fn each(op: &Binary, inputs: &[&Tensor], function: impl Fn(i32, i32) -> i32) -> Tensor {
    let shape = op.output_type.shape();
    let codes = (0..shape.elements())
        .map(|i| {
            let a = inputs[0].code(op.lhs.shape().source_index(shape, i));
            let b = inputs[1].code(op.rhs.shape().source_index(shape, i));
            function(a, b)
        })
        .collect();
    Tensor::from_codes(op.output_type.clone(), codes)
}
