//! The meaning of `ops::FloatConv`. GPU twins: `shaders/float_conv.wgsl`, `shaders/float_conv_image.wgsl`,
//! `shaders/float_conv_weights.wgsl`.

use crate::ops::{ConvPass, FloatConv, four};
use crate::tensor::{Tensor, Values};

/// The sum for each element of the result, and that of the sizes of its terms.
fn sums(op: &FloatConv, inputs: &[&Tensor]) -> Vec<(f64, f64)> {
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
    let mut sums = vec![(0.0f64, 0.0f64); result.shape().elements()];
    for image in 0..batch {
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            for (i, j) in (0..down).flat_map(|i| (0..across).map(move |j| (i, j))) {
                // Pixels of the padding are zero and learn nothing.
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
                        let (at, term) = match op.pass {
                            ConvPass::Forward => (out, f64::from(a[pixel]) * f64::from(b[weight])),
                            ConvPass::ImageGradient => (pixel, f64::from(a[out]) * f64::from(b[weight])),
                            ConvPass::WeightGradient => (weight, f64::from(a[pixel]) * f64::from(b[out])),
                        };
                        sums[at] = (sums[at].0 + term, sums[at].1 + term.abs());
                    }
                }
            }
        }
    }
    if op.pass == ConvPass::WeightGradient {
        let scale = f64::from(inputs[2].values::<f32>().expect("checked by run")[0]);
        sums.iter_mut().for_each(|sum| *sum = (sum.0 * scale, (sum.1 * scale).abs()));
    }
    sums
}

pub(super) fn float_conv(op: &FloatConv, inputs: &[&Tensor]) -> Tensor {
    let values = sums(op, inputs).into_iter().map(|(sum, _)| sum as f32).collect();
    let result = crate::ops::Op::from(op.clone()).outputs().remove(0);
    Tensor::from_values(result, Values::Float32(values))
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &FloatConv, inputs: &[&Tensor]) -> Vec<f32> {
    let n = op.terms() as f64;
    let scale = match op.pass {
        ConvPass::WeightGradient => f64::from(inputs[2].values::<f32>().expect("checked by run")[0]).abs(),
        _ => 1.0,
    };
    let flushed = 4.0 * (n + 1.0) * f64::from(f32::MIN_POSITIVE) * (1.0 + scale);
    let bound = |(_, size): (f64, f64)| ((n + 4.0) * 2f64.powi(-22) * size + flushed) as f32;
    sums(op, inputs).into_iter().map(bound).collect()
}
