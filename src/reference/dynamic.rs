//! The meaning of `ops::DynamicQuantize`. GPU twins: `shaders/range.wgsl`, `shaders/range_parameters.wgsl`,
//! `shaders/quantize.wgsl`.

use crate::numeric::{self, Format};
use crate::ops::DynamicQuantize;
use crate::tensor::{Tensor, TensorType, Values};

pub(super) fn dynamic_quantize(op: &DynamicQuantize, input: &Tensor) -> Vec<Tensor> {
    let (low, high) = op.output().format().range().expect("an integer format");
    let (segments, length) = op.segments();
    let values = input.values::<f32>().expect("checked by run");
    let parameters: Vec<_> =
        (0..segments).map(|s| range_parameters(&values[s * length..(s + 1) * length], low, high)).collect();
    let codes = values
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let (scale, zero_point) = parameters[i / length];
            numeric::quantize(x, scale, zero_point, low, high)
        })
        .collect();
    let parameter_type = TensorType::new(Format::Parameters, [segments]).expect("as many as rows");
    vec![
        Tensor::from_codes(op.output().clone(), codes),
        Tensor::from_values(parameter_type, Values::Parameters(parameters)),
    ]
}

fn range_parameters(values: &[f32], low: i32, high: i32) -> (f32, i32) {
    let finite = values.iter().filter(|x| !x.is_nan()).map(|x| x.clamp(f32::MIN, f32::MAX));
    let (min, max) = finite.fold((0.0f32, 0.0f32), |(min, max), x| (min.min(x), max.max(x)));
    let span = (max - min).min(f32::MAX);
    let scale = match span / (high - low) as f32 {
        0.0 => 1.0,
        scale => scale,
    };
    (scale, low + numeric::round_saturating(-min / scale, 0, high - low))
}
