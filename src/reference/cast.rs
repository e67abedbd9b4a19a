//! The meaning of `ops::Cast`. GPU twin: `shaders/cast.wgsl`.

use half::f16;

use crate::numeric::Format;
use crate::ops::Cast;
use crate::tensor::{Tensor, Values};

pub(super) fn cast(op: &Cast, input: &Tensor) -> Tensor {
    let output = op.output();
    let numbers = reals(input).into_iter();
    let values = match output.format() {
        Format::Float32 => Values::Float32(numbers.collect()),
        Format::Float16 => Values::Float16(numbers.map(f16::from_f32).collect()),
        format => {
            let integer = |x: f32| if Cast::rounds(format) { x.round_ties_even() } else { x.trunc() };
            return Tensor::from_codes(output.clone(), numbers.map(|x| integer(x) as i32).collect());
        }
    };
    Tensor::from_values(output.clone(), values)
}

/// The elements of any format that float32 holds.
pub(super) fn reals(tensor: &Tensor) -> Vec<f32> {
    match tensor.raw() {
        Values::Float32(v) => v.clone(),
        Values::Float16(v) => v.iter().map(|x| x.to_f32()).collect(),
        _ => (0..tensor.tensor_type().shape().elements()).map(|i| tensor.code(i) as f32).collect(),
    }
}
