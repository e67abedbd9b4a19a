//! The meaning of `ops::QuantizedSoftmax`. GPU twin: `shaders/elementwise/quantized_softmax.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::QuantizedSoftmax;
use crate::tensor::Tensor;

impl Meaning for QuantizedSoftmax {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![softmax(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

fn softmax(op: &QuantizedSoftmax, input: &Tensor) -> Tensor {
    let (powers, output) = (op.powers(), op.output());
    let (factor, zero_point, (low, high)) = (f64::from(op.factor()), f64::from(output.zero_point()), output.bounds());
    let codes: Vec<i32> = (0..input.tensor_type().shape().elements()).map(|i| input.code(i)).collect();
    let mut shares = Vec::with_capacity(codes.len());
    for row in codes.chunks_exact(op.input().shape().row_length().max(1)) {
        let most = row.iter().copied().max().unwrap_or(0);
        let power = |&code: &i32| powers[(most - code) as usize];
        let sum = row.iter().map(power).fold(0.0f32, |sum, power| sum + power);
        for code in row {
            // The product is exact: two mantissas of 24 bits. The quotient is so far from the middle between two integers, unless
            // it is the middle, that f64 tells the side.
            let steps = (f64::from(power(code)) * factor / f64::from(sum)).round_ties_even() + zero_point;
            shares.push(steps.clamp(low.into(), high.into()) as i32);
        }
    }
    Tensor::from_codes(op.output_type().clone(), shares)
}
