//! The graphs of a trained network: the fake-quantized forward pass, and the integer network that computes equal bits.
//! `network` and `trainer` find the steps.

use super::network::{Layer, Quantized};
use crate::error::{Result, require};
use crate::numeric::{self, DType, I2, I4, Rounding};
use crate::ops::{
    Conv, FakeQuantize, FakeQuantizeBuilder, FakeRequantize, FakeRequantizeOutput, FloatConv, Grid, Output, Padding,
    Quantize, RequantParams, Requantization, Table, Windows,
};
use crate::plan::{Graph, Value};
use crate::tensor::{Granularity, Quantization, Tensor, TensorType};

/// The tensors of a layer on the device.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerValues {
    /// The step of the layer's input.
    pub step: Value,
    pub weights: Value,
    pub bias: Value,
    pub weight_steps: Value,
}

/// The intermediate values of a layer's forward pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forward {
    /// The codes of the layer's input, as float32.
    pub input: Value,
    pub sums: Value,
    pub table: Value,
}

impl Quantized {
    /// The stride, padding and groups of a layer's convolution, and the dimensions of its weights.
    pub(super) fn conv(&self, layer: usize) -> (Windows, [usize; 4]) {
        match &self.network.layers[layer] {
            Layer::Conv { weights, windows, .. } => (*windows, crate::ops::four(weights.tensor_type())),
            // A mean is a convolution with weights of 1 and a step of 1 / pixels.
            Layer::GlobalAverage => {
                let [height, width, channels] = self.network.shapes[layer];
                (Windows { groups: channels, ..Windows::default() }, [channels, height, width, 1])
            }
        }
    }

    /// The inputs of the graph [`fake`](Self::fake): the images, then for each layer the step of its input, weights, bias and
    /// the steps of its weights.
    ///
    /// # Errors
    /// If the images don't fit the network.
    pub fn inputs(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let mut inputs = vec![self.network.check(images)?.clone()];
        for layer in 0..self.network.layers.len() {
            inputs.extend(self.layer_tensors(layer)?);
        }
        Ok(inputs)
    }

    pub(super) fn layer_tensors(&self, layer: usize) -> Result<[Tensor; 4]> {
        let step = Tensor::new([1], vec![self.steps[layer]])?;
        let (_, shape) = self.conv(layer);
        let (weights, bias, steps) = match &self.network.layers[layer] {
            Layer::Conv { weights, bias, .. } => (weights.clone(), bias.clone(), self.weight_steps[layer].clone()),
            Layer::GlobalAverage => {
                let count = shape.iter().product();
                let mean = 1.0 / (shape[1] * shape[2]) as f32;
                (
                    Tensor::new(shape, vec![mean; count])?,
                    Tensor::new([shape[0]], vec![0.0f32; shape[0]])?,
                    vec![mean; shape[0]],
                )
            }
        };
        Ok([step, weights, bias, Tensor::new([shape[0]], steps)?])
    }

    /// The grid of a layer's weights. The weights of a mean are one step each.
    pub(super) fn weight_grid(&self, layer: usize) -> Result<FakeQuantizeBuilder> {
        let (_, shape) = self.conv(layer);
        let codes = match self.network.layers[layer] {
            Layer::Conv { .. } => self.bits[layer].weight_codes(),
            Layer::GlobalAverage => (-127, 127),
        };
        Ok(FakeQuantize::new(TensorType::float32(shape)?, Grid::Step, Granularity::Axis(0), codes))
    }

    /// Declares the tensors of all layers.
    pub(super) fn declare(&self, graph: &mut Graph) -> Result<Vec<LayerValues>> {
        let declare = |layer| {
            let [step, weights, bias, weight_steps] =
                self.layer_tensors(layer)?.map(|tensor| graph.input(tensor.tensor_type().clone()));
            Ok(LayerValues { step, weights, bias, weight_steps })
        };
        (0..self.network.layers.len()).map(declare).collect()
    }

    /// Adds the forward pass and returns the intermediate values of each layer, and the logits.
    pub(super) fn forward(
        &self,
        graph: &mut Graph,
        batch: usize,
        images: Value,
        layers: &[LayerValues],
    ) -> Result<(Vec<Forward>, Value)> {
        let codes = self.bits[0].activation_codes();
        let [height, width, channels] = self.network.image;
        let image = TensorType::float32([batch, height, width, channels])?;
        let first = FakeQuantize::new(image, Grid::Step, Granularity::Tensor, codes).levels().build()?;
        let mut x = graph.add(first, &[images, layers[0].step])?;
        let mut made = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            let (windows, _) = self.conv(i);
            let weights = graph.add(self.weight_grid(i)?.levels().build()?, &[layer.weights, layer.weight_steps])?;
            let [image, filter] = [x, weights].map(|value| graph.tensor_type(value).cloned());
            let sums = graph.add(FloatConv::new(image?, filter?, windows).build()?, &[x, weights])?;
            let shape = graph.tensor_type(sums)?.dims().to_vec();
            let next = layers.get(i + 1);
            // A real result uses no output step, so any value serves.
            let out = next.map_or(layer.step, |next| next.step);
            let inputs = [layer.step, layer.weight_steps, layer.bias, out];
            let table = graph.add(RequantParams::new(TensorType::float32([shape[3]])?)?, &inputs)?;
            made.push(Forward { input: x, sums, table });
            let (makes, codes) = match next {
                Some(_) => (FakeRequantizeOutput::Levels, self.bits[i + 1].activation_codes()),
                None => (FakeRequantizeOutput::Real, (0, 1)),
            };
            x = graph.add(FakeRequantize::new(TensorType::float32(shape)?, makes, codes).build()?, &[sums, table])?;
        }
        let classes = graph.tensor_type(x)?.dims()[3];
        let logits = graph.reshape(x, [batch, classes])?;
        Ok((made, logits))
    }

    /// The fake-quantized network for `batch` images. Its inputs are [`inputs`](Self::inputs), its output float32 logits
    /// `[batch, classes]`.
    ///
    /// # Errors
    /// If the batch is too large for a tensor.
    pub fn fake(&self, batch: usize) -> Result<Graph> {
        let mut graph = Graph::new();
        let [height, width, channels] = self.network.image;
        let images = graph.input(TensorType::new(DType::Float32, [batch, height, width, channels])?);
        let layers = self.declare(&mut graph)?;
        let (_, logits) = self.forward(&mut graph, batch, images, &layers)?;
        graph.output(logits);
        Ok(graph)
    }

    /// The integer network for at most `batch` images. It reads float32 images and returns float32 logits `[batch, classes]`.
    /// Weights are int8, int4 or int2; activations are uint8, limited to the codes of their bits. Its logits have the same bits
    /// as those of the fake-quantized network.
    ///
    /// # Errors
    /// If a step is not positive, or a sum could exceed its accumulator.
    pub fn integer(&self, batch: usize) -> Result<Graph> {
        let mut graph = Graph::new();
        let [height, width, channels] = self.network.image;
        let images = graph.extent("images", batch)?;
        let images =
            graph.dynamic_input(TensorType::new(DType::Float32, [batch, height, width, channels])?, [(0, images)])?;
        let codes = TensorType::new(DType::Uint8, [batch, height, width, channels])?;
        let codes = codes.quantized(Quantization::tensor(self.steps[0], 0))?;
        let mut x = graph.add(Quantize::new(graph.tensor_type(images)?.clone(), codes.clone()).build()?, &[images])?;
        let high = self.bits[0].activation_codes().1;
        if high < 255 {
            let clamp = std::array::from_fn(|byte| byte.min(high as usize) as u8);
            x = graph.add(Table::from_bytes(codes.clone(), codes, clamp)?, &[x])?;
        }
        let layers = self.network.layers.len();
        for layer in 0..layers {
            let (windows, _) = self.conv(layer);
            let [_, weights, bias, steps] = self.layer_tensors(layer)?;
            let steps = steps.values::<f32>()?;
            let whole = |(&bias, &step): (&f32, &f32)| {
                numeric::round_saturating(bias / (self.steps[layer] * step), i32::MIN, i32::MAX)
            };
            let bias: Vec<i32> = bias.values::<f32>()?.iter().zip(steps).map(whole).collect();
            let output: Output = if layer + 1 == layers {
                Output::real()
            } else {
                let codes = self.bits[layer + 1].activation_codes();
                let stage = Requantization::new(DType::Uint8, self.steps[layer + 1], 0)?;
                stage.rounding(Rounding::Onnx).clamp(codes.0, codes.1)?.into()
            };
            let [top, left, bottom, right] = windows.padding;
            let conv = Conv::new(graph.tensor_type(x)?.clone(), self.codes(layer, &weights, steps)?)
                .stride(windows.stride)
                .padding(Padding::Explicit { begin: vec![top, left], end: vec![bottom, right] })
                .groups(windows.groups)
                .bias(Tensor::new([bias.len()], bias)?)
                .output(output);
            x = graph.add(conv.build()?, &[x])?;
        }
        let classes = graph.tensor_type(x)?.dims()[3];
        let logits = graph.reshape(x, [batch, classes])?;
        graph.output(logits);
        Ok(graph)
    }

    /// The weights of a layer as codes, in the narrowest data type that holds them.
    fn codes(&self, layer: usize, weights: &Tensor, steps: &[f32]) -> Result<Tensor> {
        let grid = self.weight_grid(layer)?.build()?;
        let per_output = weights.tensor_type().shape().elements() / steps.len().max(1);
        let code =
            |(i, &w): (usize, &f32)| numeric::quantize(w, steps[i / per_output.max(1)], 0, grid.low, grid.high) as i8;
        let codes: Vec<i8> = weights.values::<f32>()?.iter().enumerate().map(code).collect();
        fn narrow<T>(codes: &[i8], make: impl Fn(i8) -> Option<T>) -> Vec<T> {
            codes.iter().filter_map(|&code| make(code)).collect()
        }
        let tensor = match grid.high {
            1 => Tensor::new(weights.dims(), narrow(&codes, I2::new))?,
            2..=7 => Tensor::new(weights.dims(), narrow(&codes, I4::new))?,
            _ => Tensor::new(weights.dims(), codes)?,
        };
        let odd = steps.iter().find(|step| !(step.is_normal() && **step > 0.0));
        require!(odd.is_none(), "a step of layer {layer} is {}, but steps are positive", odd.unwrap_or(&0.0));
        tensor.quantized(Quantization::symmetric_axis(0, steps))
    }
}
