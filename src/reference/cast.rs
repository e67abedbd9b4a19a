//! The meaning of `ops::Cast`. GPU twin: `shaders/convert/convert.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric::{Encoding, encode_power};
use crate::ops::Cast;
use crate::tensor::Tensor;

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
    let codes = match output.dtype().encoding() {
        Encoding::Signed(_) | Encoding::Unsigned(_) => {
            let rounds = Cast::rounds(output.dtype());
            let integer = |x: f32| if rounds { x.round_ties_even() } else { x.trunc() };
            numbers.map(|x| integer(x) as i32).collect()
        }
        Encoding::Minifloat(layout) => numbers.map(|x| layout.encode(x, op.saturates()) as i32).collect(),
        Encoding::PowerOfTwo => numbers.map(|x| encode_power(x, op.power_rounding(), op.saturates()) as i32).collect(),
        Encoding::Float16 | Encoding::Float32 => return Tensor::from_reals(output.clone(), numbers),
        Encoding::Parameters => unreachable!("refused when made"),
    };
    Tensor::from_codes(output.clone(), codes)
}
