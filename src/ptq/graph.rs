//! A quantized model as a graph of integer ops. Which numbers they hold is decided before.

use super::quantized::{QuantizedModel, Scales};
use super::scheme::ActivationQuantization;
use super::weights::QuantizedWeights;
use crate::error::{Result, require};
use crate::model::{Activation, Layer, Model};
use crate::numeric::Format;
use crate::ops::{
    Conv, ConvBuilder, Dequantize, DynamicGranularity, DynamicQuantize, Linear, Matmul, Output, Padding, Pool,
    Quantize, Requantization, Requantize,
};
use crate::plan::{Graph, Value};
use crate::tensor::{Granularity, Quantization, Tensor, TensorType};
use crate::weights::Weights;

impl QuantizedModel {
    /// The graph for up to so many rows: float32 of [`Model::input_shape`] in, float32 `[rows, outputs]` out, codes between.
    ///
    /// Without groups of weights every result is the same on every device, bit for bit. Layers with groups must be linear; their
    /// sums are those of [`Linear`].
    ///
    /// # Errors
    /// If a convolution has weights in groups, a sum could leave int32, or there are no rows.
    pub fn graph(&self, rows: usize) -> Result<Graph> {
        Builder::new(self, rows)?.finish(false)
    }

    /// The same graph with another output in front of the last for the input and each layer but the last: what they make, codes
    /// or float32.
    ///
    /// # Errors
    /// As [`QuantizedModel::graph`].
    pub fn graph_of_layers(&self, rows: usize) -> Result<Graph> {
        Builder::new(self, rows)?.finish(true)
    }
}

struct Builder<'a> {
    model: &'a QuantizedModel,
    rows: usize,
    graph: Graph,
    /// What the next layer reads.
    value: Value,
    made: Vec<Value>,
}

impl<'a> Builder<'a> {
    fn new(quantized: &'a QuantizedModel, rows: usize) -> Result<Self> {
        let model: &Model = quantized.dequantized();
        let mut graph = Graph::new();
        let value = graph.dynamic_input(TensorType::new(Format::Float32, model.input_shape(rows))?)?;
        let mut builder = Self { model: quantized, rows, graph, value, made: Vec::new() };
        if let Scales::Static(scales) = quantized.scales() {
            builder.quantize(scales[0])?;
            builder.made.push(builder.value);
        }
        for (index, layer) in model.layers().iter().enumerate() {
            match quantized.scales() {
                Scales::Static(scales) => builder.layer(index, layer, scales[index + 1])?,
                Scales::Dynamic => builder.dynamic_layer(index, layer)?,
            }
            builder.graph.name(builder.value, layer.name())?;
            builder.made.push(builder.value);
        }
        Ok(builder)
    }

    fn finish(mut self, all: bool) -> Result<Graph> {
        let last = self.made.pop().unwrap_or(self.value);
        if all {
            self.made.iter().for_each(|&value| self.graph.output(value));
        }
        self.value = last;
        if self.graph.tensor_type(last)?.format() != Format::Float32 {
            let codes = self.graph.tensor_type(last)?.clone();
            self.value = self.graph.add(Dequantize::new(codes)?, &[last])?;
        }
        let elements = self.model.dequantized().outputs();
        let value = self.shaped(&[self.rows, elements])?;
        self.graph.output(value);
        Ok(self.graph)
    }

    /// The value under other dimensions.
    fn shaped(&mut self, dimensions: &[usize]) -> Result<Value> {
        if self.graph.tensor_type(self.value)?.dimensions() != dimensions {
            self.value = self.graph.reshape(self.value, dimensions)?;
        }
        Ok(self.value)
    }

    /// The value as a layer reads it: a row, or an image.
    fn input(&mut self, layer: &Layer) -> Result<(Value, TensorType)> {
        let input = layer.input();
        let value = if layer.is_matmul() {
            self.shaped(&[self.rows, input.channels])?
        } else {
            self.shaped(&[self.rows, input.height, input.width, input.channels])?
        };
        Ok((value, self.graph.tensor_type(value)?.clone()))
    }

    fn quantize(&mut self, scale: Option<ActivationQuantization>) -> Result<()> {
        let Some(scale) = scale else { return Ok(()) };
        let dimensions = self.graph.tensor_type(self.value)?.dimensions().to_vec();
        let codes = TensorType::new(Format::Uint8, dimensions)?
            .quantized(Quantization::tensor(scale.scale, scale.zero_point))?;
        self.value = self.graph.add(Quantize::new(codes.clone())?, &[self.value])?;
        if scale.bits < 8 {
            self.value = self.graph.add(Requantize::new(codes, requantization(scale, None)?)?, &[self.value])?;
        }
        Ok(())
    }

    fn layer(&mut self, index: usize, layer: &Layer, made: Option<ActivationQuantization>) -> Result<()> {
        let (value, input) = self.input(layer)?;
        let Some(weights) = &self.model.weights()[index] else {
            require!(made.is_some(), "layer {} averages, and must make codes: give the outputs a scale", layer.name());
            let Some(made) = made else { return Ok(()) };
            let output = requantization(made, layer.activation())?;
            self.value = self.graph.add(Pool::global_average(input).output(output).build()?, &[value])?;
            return Ok(());
        };
        let (low, high) = Activation::bounds(layer.activation());
        if weights.scales().len() > weights.rows() {
            require!(
                layer.is_matmul(),
                "layer {} is a convolution with a scale per {} weights, but only linear layers have such scales in a graph: \
                 use a scale per channel",
                layer.name(),
                weights.scheme().group(weights.row_length())
            );
            let linear = Linear::new(input, Weights::from_tensor(&codes(layer, weights)?)?);
            let bias = Tensor::new([layer.bias().len()], layer.bias())?;
            self.value = self.graph.add(linear.bias(bias).clamp(low, high).build()?, &[value])?;
            return self.quantize(made);
        }
        let bias = match self.model.bias_codes(index)? {
            Some(bias) => Tensor::new([bias.len()], bias)?,
            None => Tensor::new([layer.bias().len()], layer.bias())?,
        };
        let output = match made {
            Some(made) => requantization(made, layer.activation())?.into(),
            None => Output::Real { low, high },
        };
        self.value = if layer.is_matmul() {
            let matmul = Matmul::new(input, codes(layer, weights)?).transposed();
            self.graph.add(matmul.bias(bias).output(output).build()?, &[value])?
        } else {
            let conv = Conv::new(input, codes(layer, weights)?);
            self.graph.add(windowed(layer, conv).bias(bias).output(output).build()?, &[value])?
        };
        Ok(())
    }

    fn dynamic_layer(&mut self, index: usize, layer: &Layer) -> Result<()> {
        let (value, input) = self.input(layer)?;
        let granularity = if layer.is_matmul() { DynamicGranularity::Row } else { DynamicGranularity::Tensor };
        let quantize = DynamicQuantize::new(input.dimensions(), Format::Uint8, granularity)?;
        let quantized = self.graph.add_all(quantize, &[value])?;
        let input = self.graph.tensor_type(quantized[0])?.clone();
        let (low, high) = Activation::bounds(layer.activation());
        let output = Output::Real { low, high };
        let weights = self.model.weights()[index].as_ref();
        if let Some(weights) = weights {
            require!(
                weights.scales().len() == weights.rows(),
                "layer {} has weights in groups, but with dynamic activations they need a scale per channel",
                layer.name()
            );
        }
        let bias = Tensor::new(
            [layer.output().channels],
            match weights {
                Some(_) => layer.bias().to_vec(),
                None => vec![0.0; layer.output().channels],
            },
        )?;
        self.value = match weights {
            Some(weights) if layer.is_matmul() => {
                let matmul = Matmul::new(input, codes(layer, weights)?).transposed().dynamic_lhs(granularity);
                self.graph.add(matmul.bias(bias).output(output).build()?, &quantized)?
            }
            Some(weights) => {
                let conv = windowed(layer, Conv::new(input, codes(layer, weights)?)).dynamic_lhs();
                self.graph.add(conv.bias(bias).output(output).build()?, &quantized)?
            }
            // An average is a depthwise convolution by 1 / pixels.
            None => {
                let image = layer.input();
                let ones = vec![1i8; image.elements()];
                let ones = Tensor::new([image.channels, image.height, image.width, 1], ones)?
                    .quantized(Quantization::tensor(1.0 / image.pixels() as f32, 0))?;
                let conv = Conv::new(input, ones).groups(image.channels).dynamic_lhs();
                self.graph.add(conv.bias(bias).output(output).build()?, &quantized)?
            }
        };
        Ok(())
    }
}

fn requantization(made: ActivationQuantization, activation: Option<Activation>) -> Result<Requantization> {
    let stage = Requantization::new(Format::Uint8, made.scale, made.zero_point)?.clamp(0, made.greatest())?;
    Ok(match activation {
        None => stage,
        Some(Activation::Relu) => stage.relu(),
        Some(Activation::Relu6) => stage.relu6(),
    })
}

fn windowed(layer: &Layer, conv: ConvBuilder) -> ConvBuilder {
    let Some(window) = layer.window() else { return conv };
    conv.stride(window.stride)
        .dilation(window.dilation)
        .groups(window.groups)
        .padding(Padding::Explicit { begin: window.begin.to_vec(), end: window.end.to_vec() })
}

/// The weights of a layer as a tensor: `[outputs, height, width, channels]`, or `[outputs, features]`.
fn codes(layer: &Layer, weights: &QuantizedWeights) -> Result<Tensor> {
    let (rows, k) = (weights.rows(), weights.row_length());
    let shape = match layer.window() {
        Some(window) if !layer.is_matmul() => {
            vec![rows, window.kernel[0], window.kernel[1], layer.channels_per_group()]
        }
        _ => vec![rows, k],
    };
    let codes = weights.codes().iter().map(|&code| code.into()).collect();
    let tensor = Tensor::from_codes(TensorType::new(weights.scheme().format(), shape)?, codes);
    let granularity = if weights.scales().len() > rows {
        Granularity::Blocks { axis: 1, size: weights.scheme().group(k) }
    } else {
        Granularity::Axis(0)
    };
    tensor.quantized(Quantization::new(granularity, weights.scales(), weights.zero_points()))
}
