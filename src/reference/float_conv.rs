//! The meaning of `ops::FloatConv`. GPU twins: `shaders/train/float_conv.wgsl`, `shaders/train/float_conv_image.wgsl`,
//! `shaders/train/float_conv_weights.wgsl`.

use super::Meaning;
use super::bound::Products;
use crate::error::Result;
use crate::ops::{ConvPass, FloatConv, four};
use crate::tensor::Tensor;

impl Meaning for FloatConv {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![float_conv(self, inputs)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs))
    }
}

/// The sum for each element of the result.
fn sums(op: &FloatConv, inputs: &[&Tensor]) -> Vec<Products> {
    let [a, b] = [0, 1].map(|i| inputs[i].values::<f32>().expect("checked by run"));
    let [batch, height, width, channels] = four(&op.image);
    let [outputs, down, across, per_group] = four(&op.weights);
    let [_, rows, columns, _] = four(&op.output);
    let [stride_y, stride_x] = op.windows.stride;
    let [top, left, ..] = op.windows.padding;
    let outputs_per_group = outputs / op.windows.groups;
    let result = match op.pass {
        ConvPass::Forward => &op.output,
        ConvPass::ImageGradient => &op.image,
        ConvPass::WeightGradient => &op.weights,
    };
    let mut sums = vec![Products::default(); result.shape().elements()];
    for image in 0..batch {
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            for (i, j) in (0..down).flat_map(|i| (0..across).map(move |j| (i, j))) {
                // Padding is zero and has no gradient.
                let (Some(v), Some(u)) = ((y * stride_y + i).checked_sub(top), (x * stride_x + j).checked_sub(left))
                else {
                    continue;
                };
                if v >= height || u >= width {
                    continue;
                }
                for o in 0..outputs {
                    for c in 0..per_group {
                        let channel = o / outputs_per_group * per_group + c;
                        let pixel = ((image * height + v) * width + u) * channels + channel;
                        let weight = ((o * down + i) * across + j) * per_group + c;
                        let out = ((image * rows + y) * columns + x) * outputs + o;
                        let (at, a, b) = match op.pass {
                            ConvPass::Forward => (out, a[pixel], b[weight]),
                            ConvPass::ImageGradient => (pixel, a[out], b[weight]),
                            ConvPass::WeightGradient => (weight, a[pixel], b[out]),
                        };
                        sums[at].add(a.into(), b.into());
                    }
                }
            }
        }
    }
    // The loops above skip the factors of the padding.
    if [a, b].iter().any(|values| values.iter().any(|x| !x.is_finite())) {
        sums.iter_mut().for_each(|sum| sum.size = f64::INFINITY);
    }
    sums
}

/// The factor of the sums.
fn scale(op: &FloatConv, inputs: &[&Tensor]) -> f64 {
    match op.pass {
        ConvPass::WeightGradient => inputs[2].values::<f32>().expect("checked by run")[0].into(),
        _ => 1.0,
    }
}

pub(super) fn float_conv(op: &FloatConv, inputs: &[&Tensor]) -> Tensor {
    let scale = scale(op, inputs);
    let values = sums(op, inputs).into_iter().map(|sum| (sum.value * scale) as f32).collect();
    let result = crate::ops::Op::from(op.clone()).outputs().remove(0);
    Tensor::from_values(result, values)
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &FloatConv, inputs: &[&Tensor]) -> Vec<f32> {
    let (n, scale) = (op.terms(), scale(op, inputs));
    sums(op, inputs).into_iter().map(|sum| sum.tolerance(n, n + 4, scale)).collect()
}
