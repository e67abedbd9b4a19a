//! The meaning of `ops::Cast`. GPU twin: `shaders/convert/convert.wgsl`.

use super::Meaning;
use crate::error::Result;
use half::f16;

use crate::numeric::{DType, Minifloat, encode_power};
use crate::ops::Cast;
use crate::tensor::{Tensor, Values};

impl Meaning for Cast {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![cast(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn cast(op: &Cast, input: &Tensor) -> Tensor {
    let output = op.output();
    let numbers = input.reals().into_iter();
    let codes = match (output.dtype(), Minifloat::of(output.dtype())) {
        (DType::Float32, _) => return Tensor::from_values(output.clone(), Values::Float32(numbers.collect())),
        (DType::Float16, _) => {
            let halves = numbers.map(f16::from_f32).collect();
            return Tensor::from_values(output.clone(), Values::Float16(halves));
        }
        (DType::Float8E8M0, _) => {
            numbers.map(|x| encode_power(x, op.power_rounding(), op.saturates()) as i32).collect()
        }
        (_, Some(layout)) => numbers.map(|x| layout.encode(x, op.saturates()) as i32).collect(),
        (format, None) => {
            let integer = |x: f32| if Cast::rounds(format) { x.round_ties_even() } else { x.trunc() };
            numbers.map(|x| integer(x) as i32).collect()
        }
    };
    Tensor::from_codes(output.clone(), codes)
}
