//! The meaning of `ops::DynamicQuantize`. GPU twins: `shaders/convert/range.wgsl`, `shaders/convert/range_parameters.wgsl`,
//! `shaders/convert/convert.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric::{self, QuantizationParams};
use crate::ops::DynamicQuantize;
use crate::tensor::Tensor;

impl Meaning for DynamicQuantize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(dynamic_quantize(self, inputs[0]))
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn dynamic_quantize(op: &DynamicQuantize, input: &Tensor) -> Vec<Tensor> {
    let range = op.range();
    let values = input.values::<f32>().expect("checked by run");
    let mut parameters = Vec::new();
    let mut codes = Vec::with_capacity(values.len());
    for segment in 0..op.segments().count {
        let values = &values[op.segments().elements(segment)];
        let (scale, zero_point) = range_parameters(values, range);
        codes.extend(values.iter().map(|&x| numeric::quantize(x, scale, zero_point, range.0, range.1)));
        parameters.push(QuantizationParams { scale, zero_point });
    }
    let parameter_type = op.parameters().clone();
    vec![Tensor::from_codes(op.output().clone(), codes), Tensor::from_values(parameter_type, parameters)]
}

fn range_parameters(values: &[f32], (low, high, symmetric): (i32, i32, bool)) -> (f32, i32) {
    let finite = values.iter().filter(|x| !x.is_nan()).map(|x| x.clamp(f32::MIN, f32::MAX));
    let (min, max) = finite.fold((0.0f32, 0.0f32), |(min, max), x| (min.min(x), max.max(x)));
    let (span, steps) = if symmetric { (max.max(-min), high) } else { ((max - min).min(f32::MAX), high - low) };
    let scale = match span / steps as f32 {
        0.0 => 1.0,
        scale => scale,
    };
    if symmetric {
        return (scale, 0);
    }
    (scale, low + numeric::round_saturating(-min / scale, 0, high - low))
}
