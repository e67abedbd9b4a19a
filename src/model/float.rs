//! Runs a model in f32 on the CPU, images in parallel. The loops are plain, in an order that a compiler can vectorize. Sums are
//! f32, in the order of the weights.

use rayon::prelude::*;

use super::{Activation, Layer, Model};
use crate::error::Result;
use crate::tensor::Tensor;

impl Model {
    /// The outputs for a batch: float32 `[batch, outputs]`.
    ///
    /// # Errors
    /// If the input is not float32 of [`Model::input_shape`].
    pub fn run(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.trace(input, |_, _| {})?.pop().expect("a trace begins with the input"))
    }

    /// The input and each layer's result, each float32 `[batch, …]`. `change(i, values)` may change the numbers of one row
    /// before the next layer reads them; i = 0 is the input, 1 the result of the first layer.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn trace(&self, input: &Tensor, change: impl Fn(usize, &mut [f32]) + Sync) -> Result<Vec<Tensor>> {
        let (values, rows) = self.check_input("the input", input)?;
        let mut current = values.to_vec();
        current.par_chunks_mut(self.input().elements()).for_each(|row| change(0, row));
        let mut trace = vec![Tensor::new(input.dims(), current.clone())?];
        for (i, layer) in self.layers.iter().enumerate() {
            current = layer.forward(&current, layer.weights(), layer.bias(), true);
            current.par_chunks_mut(layer.output().elements()).for_each(|row| change(i + 1, row));
            trace.push(Tensor::new(layer.output_shape(rows), current.clone())?);
        }
        Ok(trace)
    }
}

impl Layer {
    /// The dimensions of the layer's output for `rows` rows.
    pub(crate) fn output_shape(&self, rows: usize) -> Vec<usize> {
        let output = self.output();
        match output.pixels() {
            1 => vec![rows, output.channels],
            _ => vec![rows, output.height, output.width, output.channels],
        }
    }

    /// The layer's results for rows of its input, with these weights and biases. If `activate` is false, they are those before
    /// the activation.
    pub(crate) fn forward(&self, input: &[f32], weights: &[f32], bias: &[f32], activate: bool) -> Vec<f32> {
        let (read, made) = (self.input().elements(), self.output().elements());
        let mut out = vec![0.0; input.len() / read * made];
        let (low, high) = Activation::bounds(self.activation().filter(|_| activate));
        let columns = self.columns(weights);
        out.par_chunks_mut(made).zip(input.par_chunks(read)).for_each_init(Vec::new, |patch, (out, image)| {
            if self.window().is_none() {
                self.average(image, out);
            } else {
                self.convolve(image, &columns, bias, patch, out);
            }
            for value in out {
                *value = value.clamp(low, high);
            }
        });
        out
    }

    fn average(&self, image: &[f32], out: &mut [f32]) {
        for pixel in image.chunks_exact(out.len()) {
            for (sum, value) in out.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
        let count = self.input().pixels() as f32;
        for sum in out {
            *sum /= count;
        }
    }

    /// The weights group by group, with the outputs innermost.
    fn columns(&self, weights: &[f32]) -> Vec<f32> {
        let (k, outputs) = (self.row_length(), self.outputs_per_group());
        if k == 0 {
            return Vec::new();
        }
        let group =
            |rows: &[f32]| -> Vec<f32> { (0..k * outputs).map(|i| rows[i % outputs * k + i / outputs]).collect() };
        weights.chunks_exact(k * outputs).flat_map(group).collect()
    }

    fn convolve(&self, image: &[f32], columns: &[f32], bias: &[f32], patches: &mut Vec<f32>, out: &mut [f32]) {
        let (k, outputs, channels) = (self.row_length(), self.outputs_per_group(), self.output().channels);
        for (group, columns) in columns.chunks_exact(k * outputs).enumerate() {
            self.unfold(image, group, patches);
            for (patch, out) in patches.chunks_exact(k).zip(out.chunks_exact_mut(channels)) {
                let sums = &mut out[group * outputs..(group + 1) * outputs];
                for (&x, column) in patch.iter().zip(columns.chunks_exact(outputs)) {
                    for (sum, w) in sums.iter_mut().zip(column) {
                        *sum += x * w;
                    }
                }
                for (sum, bias) in sums.iter_mut().zip(&bias[group * outputs..]) {
                    *sum += bias;
                }
            }
        }
    }

    /// The patches of an image that the filters of a group read: a row of [`Layer::row_length`] numbers for each pixel of the
    /// output.
    pub(crate) fn unfold(&self, image: &[f32], group: usize, patches: &mut Vec<f32>) {
        let (input, output, channels) = (self.input(), self.output(), self.channels_per_group());
        patches.clear();
        let Some(window) = self.window() else { return };
        patches.reserve(output.pixels() * self.row_length());
        let place = |pixel: usize, tap: usize, axis: usize, extent: usize| {
            let position = pixel * window.stride[axis] + tap * window.dilation[axis];
            position.checked_sub(window.begin[axis]).filter(|&position| position < extent)
        };
        for pixel in 0..output.pixels() {
            for tap in 0..window.kernel[0] * window.kernel[1] {
                let y = place(pixel / output.width, tap / window.kernel[1], 0, input.height);
                let x = place(pixel % output.width, tap % window.kernel[1], 1, input.width);
                match y.zip(x) {
                    Some((y, x)) => {
                        let first = (y * input.width + x) * input.channels + group * channels;
                        patches.extend_from_slice(&image[first..first + channels]);
                    }
                    None => patches.resize(patches.len() + channels, 0.0),
                }
            }
        }
    }
}
