//! The meaning of `ops::Unfold`. GPU twin: `shaders/conv/unfold.wgsl`.

use super::Meaning;
use crate::error::Result;
use half::f16;

use crate::numeric::QuantizationParams;
use crate::ops::Unfold;
use crate::tensor::Tensor;

impl Meaning for Unfold {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![unfold(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn unfold(op: &Unfold, inputs: &[&Tensor]) -> Tensor {
    let output = op.output_type().clone();
    if let Ok(values) = inputs[0].values::<f32>() {
        return Tensor::from_values(output, patches(op, |i| values[i], 0.0));
    }
    if let Ok(values) = inputs[0].values::<f16>() {
        return Tensor::from_values(output, patches(op, |i| values[i], f16::ZERO));
    }
    let zero_point = if op.is_dynamic() {
        inputs[1].values::<QuantizationParams>().expect("checked by run")[0].zero_point
    } else {
        op.image().parameters(0).1
    };
    Tensor::from_codes(output, patches(op, |i| inputs[0].code(i), zero_point))
}

/// The elements of all patches, in order; `zero` outside the image.
fn patches<T: Copy>(op: &Unfold, element: impl Fn(usize) -> T, zero: T) -> Vec<T> {
    let window = op.window();
    let (channels, per_group) = (op.image().shape().row_length(), op.channels_per_group());
    let mut out = Vec::with_capacity(op.output_type().shape().elements());
    for image in 0..op.batch() {
        for pixel in 0..window.output_pixels() {
            for group in 0..op.groups() {
                for (_, source, _) in window.taps_of(pixel) {
                    let first = source.map(|s| (image * window.input_pixels() + s) * channels + group * per_group);
                    out.extend((0..per_group).map(|i| first.map_or(zero, |first| element(first + i))));
                }
            }
        }
    }
    out
}
