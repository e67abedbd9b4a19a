//! A float model as a graph for a GPU: patches times weights. It serves as a reference on the device that runs quantized
//! models; it is not built for speed.

use super::{Activation, Layer, Model};
use crate::error::Result;
use crate::numeric::DType;
use crate::ops::{FloatMatmul, Padding, Unfold};
use crate::plan::Graph;
use crate::tensor::{Tensor, TensorType};

impl Model {
    /// The graph for at most `rows` rows. It reads float32 of [`Model::input_shape`] and returns float32 `[rows, outputs]`.
    /// Sums are those of [`FloatMatmul`], close to [`Model::run`] but not bit for bit. A grouped convolution is multiplied as
    /// one full matrix.
    ///
    /// # Errors
    /// If there are no rows, or tensors become too large.
    pub fn graph(&self, rows: usize) -> Result<Graph> {
        let mut graph = Graph::new();
        let extent = graph.extent("rows", rows)?;
        let mut value = graph.dynamic_input(TensorType::new(DType::Float32, self.input_shape(rows))?, [(0, extent)])?;
        for layer in &self.layers {
            let (input, output) = (layer.input(), layer.output());
            let k = match layer.window() {
                Some(window) if !layer.is_matmul() => {
                    value = graph.reshape(value, [rows, input.height, input.width, input.channels])?;
                    let unfold = Unfold::new(graph.tensor_type(value)?.clone(), window.kernel)
                        .stride(window.stride)
                        .dilation(window.dilation)
                        .padding(Padding::Explicit { begin: window.begin.to_vec(), end: window.end.to_vec() });
                    value = graph.add(unfold.build()?, &[value])?;
                    window.kernel[0] * window.kernel[1] * input.channels
                }
                _ => input.elements(),
            };
            let patches = graph.reshape(value, [rows * output.pixels(), k])?;
            let (low, high) = Activation::bounds(layer.activation());
            let weights = Tensor::new([output.channels, k], whole_weights(layer, k))?;
            let mut product = FloatMatmul::new(graph.tensor_type(patches)?.clone(), weights).transposed_rhs();
            if layer.is_weighted() {
                product = product.bias(Tensor::new([output.channels], layer.bias())?);
            }
            value = graph.add(product.clamp(low, high).build()?, &[patches])?;
            graph.name(value, layer.name())?;
        }
        let value = graph.reshape(value, [rows, self.outputs()])?;
        graph.output(value);
        Ok(graph)
    }
}

/// A row of weights per output for a whole patch: zero outside the output's group. For an average, the weights of its channel's
/// mean.
fn whole_weights(layer: &Layer, k: usize) -> Vec<f32> {
    let (channels, outputs) = (layer.input().channels, layer.output().channels);
    let mut whole = vec![0.0; outputs * k];
    for (output, row) in whole.chunks_exact_mut(k).enumerate() {
        if !layer.is_weighted() {
            row.iter_mut().skip(output).step_by(channels).for_each(|w| *w = 1.0 / layer.input().pixels() as f32);
            continue;
        }
        let (own, length) = (layer.channels_per_group(), layer.row_length());
        let first = output / layer.outputs_per_group() * own;
        for (i, &w) in layer.weights()[output * length..(output + 1) * length].iter().enumerate() {
            row[i / own * channels + first + i % own] = w;
        }
    }
    whole
}
