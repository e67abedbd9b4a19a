//! Vision networks as graphs of int8 layers, with random weights of a trained network's size and calibrated scales. The example
//! beside it and `tests/vision.rs` include this module; they run, verify and time the networks.

mod layer;
mod models;
mod random;
mod verify;

use std::collections::{HashMap, HashSet};

use lowbit::ops::{Add, Concat, Matmul, Op, Output, Pool, Requantization};
use lowbit::{Context, DType, Error, Granularity, Graph, Quantization, Result, Tensor, TensorType, Value};

pub(crate) use layer::{ConvLayer, Layer};
pub(crate) use models::Model;
use random::Random;

/// A network and an input image.
pub(crate) struct Network {
    /// Graph with one input, the image, and one output, the last layer's.
    pub(crate) graph: Graph,
    pub(crate) input: Value,
    pub(crate) image: Tensor,
    pub(crate) layers: Vec<Layer>,
    /// Number of different codes that the calibration saw in each value.
    spreads: HashMap<Value, usize>,
}

impl Network {
    /// Number of different codes in a layer's output in the calibration; `None` if its output has no codes.
    pub(crate) fn spread(&self, layer: &Layer) -> Option<usize> {
        self.spreads.get(&layer.output).copied()
    }
}

/// Activation function of a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
    Relu6,
}

/// Builds a graph layer by layer. With a device, each layer is run once when it is added, and its scale spans the range of its
/// raw sums, so that nothing saturates. Without a device all scales are equal, which suffices for timing kernels.
pub(crate) struct Builder<'a> {
    device: Option<&'a Context>,
    random: Random,
    graph: Graph,
    input: Value,
    image: Tensor,
    layers: Vec<Layer>,
    /// Values that the device has computed from the image so far.
    tensors: HashMap<Value, Tensor>,
}

/// Parameters of a convolution in an architecture.
#[derive(Clone, Copy)]
pub(crate) struct Filter {
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// True if there are as many groups as channels.
    pub(crate) depthwise: bool,
    /// Rows and columns of the output of a transposed convolution without padding.
    pub(crate) spread: Option<[usize; 2]>,
    pub(crate) activation: Activation,
}

impl<'a> Builder<'a> {
    /// An empty network over an image with `size` rows and columns, and the value of the image.
    pub(crate) fn new(device: Option<&'a Context>, size: usize) -> Result<(Self, Value)> {
        let mut random = Random::new(1);
        // Pixels minus their mean, divided by their deviation: the usual input of image networks.
        let image = random.image(size);
        let image = Tensor::new([1, size, size, 3], image)?.quantized(Quantization::tensor(1.0 / 57.0, 114))?;
        let mut graph = Graph::new();
        let input = graph.input(image.tensor_type().clone());
        let tensors = HashMap::from([(input, image.clone())]);
        Ok((Self { device, random, graph, input, image, layers: Vec::new(), tensors }, input))
    }

    /// The network whose output is this value.
    pub(crate) fn finish(mut self, output: Value) -> Network {
        self.graph.output(output);
        let codes = |tensor: &Tensor| tensor.values::<u8>().map(|v| v.iter().collect::<HashSet<_>>().len()).ok();
        let spreads = self.tensors.iter().filter_map(|(&value, tensor)| Some((value, codes(tensor)?))).collect();
        Network { graph: self.graph, input: self.input, image: self.image, layers: self.layers, spreads }
    }

    pub(crate) fn dimensions(&self, value: Value) -> Result<Vec<usize>> {
        Ok(self.graph.tensor_type(value)?.dims().to_vec())
    }

    /// Adds a convolution with a bias and uint8 outputs. It is padded by half its kernel, or transposed.
    pub(crate) fn conv(&mut self, name: impl Into<String>, input: Value, filter: Filter) -> Result<Value> {
        let name = name.into();
        let conv = self.conv_layer(input, filter)?;
        let op: Op = conv.op()?.into();
        let output = self.add(op.clone(), &[input], &name)?;
        self.layers.push(Layer { name, ops: vec![op], inputs: vec![input], output, conv: Some(conv), sum: None });
        Ok(output)
    }

    /// Adds a convolution whose codes are added to another value's.
    pub(crate) fn residual(
        &mut self,
        name: impl Into<String>,
        (input, other): (Value, Value),
        filter: Filter,
        activation: Activation,
    ) -> Result<Value> {
        let name = name.into();
        let conv = self.conv_layer(input, filter)?;
        let op: Op = conv.op()?.into();
        let branch = self.add(op.clone(), &[input], &format!("{name} before the sum"))?;
        let (a, b) = (self.tensor_type(branch)?, self.tensor_type(other)?);
        let range = match self.device {
            None => None,
            Some(_) => Some(sum_range(&self.tensors[&branch], &self.tensors[&other])?),
        };
        let codes = requantization(range, activation)?;
        let sum: Op = Add::new(a, b, codes.clone()).build()?.into();
        let output = self.add(sum.clone(), &[branch, other], &name)?;
        // Nothing else reads the branch, and a fused plan stores only the sum.
        self.tensors.remove(&branch);
        let inputs = vec![input, other];
        self.layers.push(Layer { name, ops: vec![op, sum], inputs, output, conv: Some(conv), sum: Some(codes) });
        Ok(output)
    }

    /// Adds an op with one output and fixed scales.
    pub(crate) fn op(&mut self, name: impl Into<String>, inputs: &[Value], op: impl Into<Op>) -> Result<Value> {
        let (name, op) = (name.into(), op.into());
        let output = self.add(op.clone(), inputs, &name)?;
        self.layers.push(Layer { name, ops: vec![op], inputs: inputs.to_vec(), output, conv: None, sum: None });
        Ok(output)
    }

    /// Concatenates images along the channels, in codes whose range covers the ranges of all inputs.
    pub(crate) fn join(&mut self, name: impl Into<String>, inputs: &[Value]) -> Result<Value> {
        let types = inputs.iter().map(|&value| self.tensor_type(value)).collect::<Result<Vec<_>>>()?;
        let ends = |q: &Quantization| [0, 255].map(|code| (code - q.zero_points()[0]) as f32 * q.scales()[0]);
        let ends = types.iter().filter_map(|t| t.quantization().map(ends));
        let range = ends.fold((0.0f32, 0.0f32), |(low, high), [least, most]| (low.min(least), high.max(most)));
        let codes = requantization(Some(range), Activation::None)?;
        self.op(name, inputs, Concat::new(types, 3).output(codes).build()?)
    }

    /// Adds an average over all pixels and a fully connected layer with float outputs.
    pub(crate) fn classifier(&mut self, input: Value, classes: usize) -> Result<Value> {
        let pool = Pool::global_average(self.graph.tensor_type(input)?.clone()).build()?;
        let pooled = self.op("pool", &[input], pool)?;
        let channels = self.dimensions(pooled)?[3];
        let features = self.graph.reshape(pooled, [1, channels])?;
        if let Some(tensor) = self.tensors.get(&pooled) {
            self.tensors.insert(features, tensor.reshaped([1, channels])?);
        }
        let weights = self.weights(&[classes, channels])?;
        let lhs = self.graph.tensor_type(features)?.clone();
        let matmul = Matmul::new(lhs, weights).transposed().output(Output::real()).build()?;
        let output = self.op("classifier", &[features], matmul)?;
        // The reshaped features are the pool's output in memory.
        self.layers.iter_mut().filter(|layer| layer.output == output).for_each(|layer| layer.inputs = vec![pooled]);
        Ok(output)
    }

    pub(crate) fn tensor_type(&self, value: Value) -> Result<TensorType> {
        Ok(self.graph.tensor_type(value)?.clone())
    }

    fn add(&mut self, op: Op, inputs: &[Value], name: &str) -> Result<Value> {
        let output = self.graph.add(op.clone(), inputs)?;
        self.graph.name(output, name)?;
        if let Some(device) = self.device {
            let tensors: Vec<&Tensor> = inputs.iter().map(|value| &self.tensors[value]).collect();
            let made = device.run_blocking(&op, &tensors)?.swap_remove(0);
            self.tensors.insert(output, made);
        }
        Ok(output)
    }

    /// A convolution whose scale spans the range of its raw sums.
    fn conv_layer(&mut self, input: Value, filter: Filter) -> Result<ConvLayer> {
        let lhs = self.graph.tensor_type(input)?.clone();
        let channels = lhs.dims()[3];
        let per_group = if filter.depthwise { 1 } else { channels };
        let weights = self.weights(&[filter.outputs, filter.kernel, filter.kernel, per_group])?;
        let scales: Vec<f32> = weights.tensor_type().quantization().map_or(&[][..], Quantization::scales).to_vec();
        let step = lhs.quantization().map_or(1.0, |q| q.scales()[0]);
        let bias: Vec<i32> = scales.iter().map(|s| (self.random.normal() * 10.0 / s) as i32 / 50).collect();
        let pad = if filter.spread.is_some() { 0 } else { filter.kernel / 2 };
        let mut layer = ConvLayer {
            lhs,
            weights: weights.into(),
            bias: Tensor::new([filter.outputs], bias)?.into(),
            stride: filter.stride,
            begin: [pad; 2],
            end: [pad; 2],
            groups: if filter.depthwise { channels } else { 1 },
            spread: filter.spread,
            output: Output::Accumulator,
        };
        let range = match self.device {
            None => None,
            Some(device) => {
                let sums = device.run_blocking(&layer.op()?.into(), &[&self.tensors[&input]])?.swap_remove(0);
                let reals = sums
                    .values::<i32>()?
                    .chunks_exact(filter.outputs)
                    .flat_map(|pixel| pixel.iter().zip(&scales).map(|(&sum, scale)| sum as f32 * (step * scale)));
                Some(reals.fold((0.0f32, 0.0f32), |(low, high), x| (low.min(x), high.max(x))))
            }
        };
        layer.output = requantization(range, filter.activation)?.into();
        Ok(layer)
    }

    /// int8 weights with a scale per output. Their variance keeps the size of activations constant from layer to layer (He and
    /// others, 2015).
    fn weights(&mut self, dims: &[usize]) -> Result<Tensor> {
        let terms: usize = dims[1..].iter().product();
        let deviation = (2.0 / terms as f32).sqrt();
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        for _ in 0..dims[0] {
            let row: Vec<f32> = (0..terms).map(|_| self.random.normal() * deviation).collect();
            let scale = row.iter().fold(f32::MIN_POSITIVE, |most, w| most.max(w.abs())) / 127.0;
            codes.extend(row.iter().map(|w| (w / scale).round_ties_even() as i8));
            scales.push(scale);
        }
        let zero_points = vec![0; dims[0]];
        Tensor::new(dims, codes)?.quantized(Quantization::new(Granularity::Axis(0), scales, zero_points))
    }
}

/// uint8 codes for a range of real numbers; −4 … 4 if the range isn't known.
fn requantization(range: Option<(f32, f32)>, activation: Activation) -> Result<Requantization> {
    let (low, high) = range.unwrap_or((-4.0, 4.0));
    let (low, high) = match activation {
        Activation::None => (low, high),
        Activation::Relu => (0.0, high),
        Activation::Relu6 => (0.0, high.min(6.0)),
    };
    let scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE);
    let codes = Requantization::new(DType::Uint8, scale, (-low / scale).round() as i32)?;
    Ok(match activation {
        Activation::None => codes,
        Activation::Relu => codes.relu(),
        Activation::Relu6 => codes.relu6(),
    })
}

/// Range of the sums of two tensors' real numbers.
fn sum_range(a: &Tensor, b: &Tensor) -> Result<(f32, f32)> {
    let reals = |tensor: &Tensor| -> Result<Vec<f32>> {
        let quantization = tensor.tensor_type().quantization().ok_or_else(|| Error::Request("no scale".into()))?;
        let (scale, zero_point) = (quantization.scales()[0], quantization.zero_points()[0]);
        Ok(tensor.values::<u8>()?.iter().map(|&code| (i32::from(code) - zero_point) as f32 * scale).collect())
    };
    let sums = reals(a)?.into_iter().zip(reals(b)?).map(|(a, b)| a + b);
    Ok(sums.fold((0.0f32, 0.0f32), |(low, high), x| (low.min(x), high.max(x))))
}
