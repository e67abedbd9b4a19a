//! The meaning of `ops::Add` and `ops::Multiply`. GPU twins: `shaders/add.wgsl`, `shaders/multiply.wgsl`.

use crate::numeric;
use crate::ops::{Add, Binary, Multiply};
use crate::tensor::Tensor;

pub(super) fn add(op: &Add, inputs: &[&Tensor]) -> Tensor {
    let [(lhs_scale, _), (rhs_scale, _)] = op.0.parameters();
    let (scale, zero_point, (low, high)) = (op.0.output.scale(), op.0.output.zero_point(), op.0.output.bounds());
    each(&op.0, inputs, |a, b| {
        numeric::quantize(a as f32 * lhs_scale + b as f32 * rhs_scale, scale, zero_point, low, high)
    })
}

pub(super) fn multiply(op: &Multiply, inputs: &[&Tensor]) -> Tensor {
    let multiplier = op.stage.entries[0].multiplier.expect("a requantized stage has multipliers");
    each(&op.binary, inputs, |a, b| op.binary.output.apply(a * b, multiplier))
}

/// Applies a function to each pair of code minus zero point.
fn each(op: &Binary, inputs: &[&Tensor], function: impl Fn(i32, i32) -> i32) -> Tensor {
    let shape = op.output_type.shape();
    let [(_, lhs_zero_point), (_, rhs_zero_point)] = op.parameters();
    let codes = (0..shape.elements())
        .map(|i| {
            let a = inputs[0].code(op.lhs.shape().source_index(shape, i)) - lhs_zero_point;
            let b = inputs[1].code(op.rhs.shape().source_index(shape, i)) - rhs_zero_point;
            function(a, b)
        })
        .collect();
    Tensor::from_codes(op.output_type.clone(), codes)
}
