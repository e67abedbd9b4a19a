//! A quantized model as a graph. A layer is an integer op if it reads integers and its weights are integers with one scale per
//! output; other layers are `Linear` and `LinearConv`. The weights and scales are decided elsewhere.

use super::quantized::{QuantizedModel, Scales};
use super::scheme::ActivationQuantization;
use super::weights::QuantizedWeights;
use crate::error::Result;
use crate::model::{Activation, Layer, Model, Window};
use crate::numeric::DType;
use crate::ops::{
    Cast, Conv, ConvBuilder, Dequantize, DynamicGranularity, DynamicQuantize, Linear, LinearConv, Matmul, Output,
    Padding, Pool, Quantize, Requantization, Requantize,
};
use crate::plan::{Graph, Value};
use crate::tensor::{Granularity, Quantization, Tensor, TensorType};
use crate::weights::{Codes, GroupParams, PackedWeights, WeightFormat};

impl QuantizedModel {
    /// The graph for at most `rows` rows. It reads float32 of [`Model::input_shape`] and returns float32 `[rows, outputs]`,
    /// with codes between the layers.
    ///
    /// Layers that read integers and have integer weights with one scale per output are [`Conv`], [`Matmul`] and [`Pool`]:
    /// equal bits on every device. Other layers are [`Linear`] and [`LinearConv`]. They multiply integers where both sides are
    /// integers (E2M1 counts as such), and else floats, which are dequantized before and quantized after. Their sums have the
    /// error bound that [`Linear`] documents.
    ///
    /// # Errors
    /// If a sum could leave int32, or there are no rows.
    pub fn graph(&self, rows: usize) -> Result<Graph> {
        Builder::new(self, rows)?.finish(false)
    }

    /// The graph of [`QuantizedModel::graph`] with more outputs before the last one: the quantized input, if it is quantized,
    /// and the result of each layer but the last, in codes or floats.
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
    /// The input of the next layer.
    value: Value,
    made: Vec<Value>,
}

impl<'a> Builder<'a> {
    fn new(quantized: &'a QuantizedModel, rows: usize) -> Result<Self> {
        let model: &Model = quantized.dequantized();
        let mut graph = Graph::new();
        let extent = graph.extent("rows", rows)?;
        let value = graph.dynamic_input(TensorType::new(DType::Float32, model.input_shape(rows))?, [(0, extent)])?;
        let mut builder = Self { model: quantized, rows, graph, value, made: Vec::new() };
        if let Scales::Static(scales) = quantized.scales() {
            builder.quantize(scales[0])?;
            builder.made.extend(scales[0].map(|_| builder.value));
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
        self.real(DType::Float32)?;
        let elements = self.model.dequantized().outputs();
        let value = self.shaped(&[self.rows, elements])?;
        self.graph.output(value);
        Ok(self.graph)
    }

    /// Reshapes the value to other dimensions.
    fn shaped(&mut self, dims: &[usize]) -> Result<Value> {
        if self.graph.tensor_type(self.value)?.dims() != dims {
            self.value = self.graph.reshape(self.value, dims)?;
        }
        Ok(self.value)
    }

    /// The value in the shape that the layer reads: a row, or an image.
    fn input(&mut self, layer: &Layer) -> Result<(Value, TensorType)> {
        let input = layer.input();
        let value = if layer.is_matmul() {
            self.shaped(&[self.rows, input.channels])?
        } else {
            self.shaped(&[self.rows, input.height, input.width, input.channels])?
        };
        Ok((value, self.graph.tensor_type(value)?.clone()))
    }

    /// Converts the value to floats; codes are dequantized.
    fn real(&mut self, dtype: DType) -> Result<()> {
        let now = self.graph.tensor_type(self.value)?.clone();
        if now.dtype() == dtype {
            return Ok(());
        }
        self.value = match now.quantization() {
            Some(_) => self.graph.add(Dequantize::new(now).output(dtype).build()?, &[self.value])?,
            None => self.graph.add(Cast::new(now, dtype).build()?, &[self.value])?,
        };
        Ok(())
    }

    /// Quantizes a value that is float.
    fn quantize(&mut self, made: Option<ActivationQuantization>) -> Result<()> {
        let Some(made) = made else { return Ok(()) };
        if made == ActivationQuantization::FLOAT16 {
            return self.real(DType::Float16);
        }
        let dims = self.graph.tensor_type(self.value)?.dims().to_vec();
        let codes =
            TensorType::new(made.format(), dims)?.quantized(Quantization::tensor(made.scale(), made.zero_point()))?;
        self.value =
            self.graph.add(Quantize::new(TensorType::float32(codes.dims())?, codes.clone()).build()?, &[self.value])?;
        if made.is_integer() && made.greatest() < 255 {
            self.value = self.graph.add(Requantize::new(codes, requantization(made, None)?)?, &[self.value])?;
        }
        Ok(())
    }

    fn layer(&mut self, index: usize, layer: &Layer, made: Option<ActivationQuantization>) -> Result<()> {
        if !self.model.is_integer(index) {
            if !self.model.multiplies_integers(index) && self.graph.tensor_type(self.value)?.dtype() != DType::Float16 {
                self.real(DType::Float32)?;
            }
            let (value, input) = self.input(layer)?;
            let half = made == Some(ActivationQuantization::FLOAT16);
            let output = if half { DType::Float16 } else { DType::Float32 };
            self.linear(index, layer, input, &[value], None, output)?;
            return self.quantize(made);
        }
        let (value, input) = self.input(layer)?;
        let Some((weights, made)) = self.model.weights()[index].as_ref().map(|weights| (weights, made)) else {
            let made = made.expect("an average in integers makes integers");
            let output = requantization(made, layer.activation())?;
            self.value = self.graph.add(Pool::global_average(input).output(output).build()?, &[value])?;
            return Ok(());
        };
        let (low, high) = Activation::bounds(layer.activation());
        let made_integers = made.filter(ActivationQuantization::is_integer);
        let bias = match self.model.bias_codes(index)? {
            Some(bias) => Tensor::new([bias.len()], bias)?,
            None => Tensor::new([layer.bias().len()], layer.bias())?,
        };
        let output = match made_integers {
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
        if made_integers.is_none() { self.quantize(made) } else { Ok(()) }
    }

    /// A layer with a float result, as `Linear` or `LinearConv`.
    fn linear(
        &mut self,
        index: usize,
        layer: &Layer,
        input: TensorType,
        values: &[Value],
        dynamic: Option<DynamicGranularity>,
        output: DType,
    ) -> Result<()> {
        let (low, high) = Activation::bounds(layer.activation());
        let groups = layer.window().map_or(layer.input().channels, |window| window.groups);
        let weights = match &self.model.weights()[index] {
            Some(weights) => weights.packed_matrices(groups)?,
            None => average(layer)?,
        };
        let bias = match layer.is_weighted() {
            true => layer.bias().to_vec(),
            false => vec![0.0; layer.output().channels],
        };
        let bias = Tensor::new([bias.len()], bias)?;
        self.value = if layer.is_matmul() {
            let mut linear = Linear::new(input, weights).bias(bias).clamp(low, high).output(output);
            if let Some(granularity) = dynamic {
                linear = linear.dynamic_lhs(granularity);
            }
            self.graph.add(linear.build()?, values)?
        } else {
            let image = layer.input();
            let kernel = layer.window().map_or([image.height, image.width], |window| window.kernel);
            let mut conv = LinearConv::new(input, weights, kernel).bias(bias).clamp(low, high).output(output);
            if let Some(window) = layer.window() {
                conv = conv.stride(window.stride).dilation(window.dilation).padding(padding(window));
            }
            if dynamic.is_some() {
                conv = conv.dynamic_image();
            }
            self.graph.add(conv.build()?, values)?
        };
        Ok(())
    }

    fn dynamic_layer(&mut self, index: usize, layer: &Layer) -> Result<()> {
        let (value, input) = self.input(layer)?;
        let granularity = if layer.is_matmul() { DynamicGranularity::Row } else { DynamicGranularity::Tensor };
        let quantize = DynamicQuantize::new(input.clone(), DType::Uint8, granularity).build()?;
        let quantized = self.graph.add_all(quantize, &[value])?;
        let input = self.graph.tensor_type(quantized[0])?.clone();
        let (low, high) = Activation::bounds(layer.activation());
        let output = Output::Real { low, high };
        if !self.model.is_integer(index) {
            return self.linear(index, layer, input, &quantized, Some(granularity), DType::Float32);
        }
        let weights = self.model.weights()[index].as_ref();
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
            // An average is a depthwise convolution with filters of 1 / pixels.
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
    let stage = Requantization::new(DType::Uint8, made.scale(), made.zero_point())?.clamp(0, made.greatest())?;
    Ok(match activation {
        None => stage,
        Some(Activation::Relu) => stage.relu(),
        Some(Activation::Relu6) => stage.relu6(),
    })
}

fn windowed(layer: &Layer, conv: ConvBuilder) -> ConvBuilder {
    let Some(window) = layer.window() else { return conv };
    conv.stride(window.stride).dilation(window.dilation).groups(window.groups).padding(padding(window))
}

fn padding(window: Window) -> Padding {
    Padding::Explicit { begin: window.begin.to_vec(), end: window.end.to_vec() }
}

/// The weights of an average: a filter of 1 / pixels for each channel.
fn average(layer: &Layer) -> Result<PackedWeights> {
    let (pixels, channels) = (layer.input().pixels(), layer.input().channels);
    let format = WeightFormat::new(Codes::INT2, usize::MAX, crate::weights::ScaleFormat::F32);
    PackedWeights::build(format, [channels, 1, pixels], |_, codes, groups, _| {
        codes.fill(1);
        groups.fill(GroupParams::scale(1.0 / pixels as f32));
        Ok(())
    })
}

/// The weights of a layer of integers as a tensor: `[outputs, height, width, channels]`, or `[outputs, features]`.
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
    tensor.quantized(Quantization::new(Granularity::Axis(0), weights.whole_scales(), weights.zero_points()))
}
