//! The meaning of `ops::Conv`. GPU twins: `shaders/conv/conv.wgsl`, `shaders/conv/conv_words.wgsl`,
//! `shaders/conv/conv_workgroup.wgsl`, `shaders/conv/conv_grouped.wgsl`, `shaders/conv/depthwise.wgsl`,
//! `shaders/conv/depthwise_row.wgsl`.

use super::Meaning;
use super::output::Collector;
use crate::error::Result;
use crate::numeric::QuantizationParams;
use crate::ops::Conv;
use crate::tensor::Tensor;

impl Meaning for Conv {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![conv(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn conv(op: &Conv, inputs: &[&Tensor]) -> Tensor {
    let lhs = inputs[0];
    let window = op.window();
    let channels = lhs.tensor_type().shape().row_length();
    let per_group = op.channels_per_group();
    let outputs = op.weights().dims()[0];
    let (scale, zero_point) = if op.is_dynamic() {
        let params = inputs[1].values::<QuantizationParams>().expect("checked by run")[0];
        (params.scale, params.zero_point)
    } else {
        op.lhs_parameters()
    };

    let mut out = Collector::new(op.output());
    for image in 0..op.batch() {
        for pixel in 0..window.output_pixels() {
            for output in 0..outputs {
                let first_channel = output / op.outputs_per_group() * per_group;
                let weight_zero_point = op.weight_zero_point(output);
                let mut sum = 0i64;
                for (tap, source, _) in window.taps_of(pixel) {
                    // Padding is real zero, which adds nothing.
                    let Some(source) = source else { continue };
                    let first = (image * window.input_pixels() + source) * channels + first_channel;
                    for i in 0..per_group {
                        let x = lhs.code(first + i) - zero_point;
                        let w = op.weights().code(op.weight_index(output, tap, i)) - weight_zero_point;
                        sum += i64::from(x) * i64::from(w);
                    }
                }
                out.push(sum, scale, op.stage().entry(0, output));
            }
        }
    }
    out.finish(op.output_type())
}
