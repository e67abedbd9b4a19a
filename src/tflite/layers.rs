//! The ops of nodes that compute: layers, sums and products, windows, functions of codes, conversions. The numbers that they need
//! are in `codes`.

use std::sync::Arc;

use super::codes;
use super::convert::{Builder, codes_of, integers, padding, requantization, sizes};
use super::flat::Table as Options;
use super::schema::{Builtin, Kind, Node};
use crate::error::{Result, refuse, require};
use crate::network::axis_of;
use crate::numeric::{DType, Multiplier, Rounding};
use crate::ops::{
    Add, Concat, Conv, ConvBuilder, Dequantize, Matmul, Multiply, Padding, Pool, Quantize, QuantizedArithmetic,
    Requantization, Requantize, Softmax, Table,
};
use crate::plan::Value;
use crate::tensor::{Tensor, TensorType};

/// The bias of a layer.
enum LayerBias {
    None,
    Narrow(Arc<Tensor>),
    Wide(Arc<[i64]>),
}

impl LayerBias {
    /// A convolution with this bias.
    fn of(self, conv: ConvBuilder) -> ConvBuilder {
        match self {
            Self::None => conv,
            Self::Narrow(bias) => conv.bias(bias),
            Self::Wide(bias) => conv.wide_bias(bias),
        }
    }
}

impl Builder<'_> {
    /// The output stage of a layer and its bias.
    fn layer(
        &mut self,
        node: &Node,
        lhs: &TensorType,
        bias_place: usize,
        activation: i8,
    ) -> Result<(Requantization, LayerBias)> {
        let output = self.output(node)?.tensor_type()?;
        let stage = requantization(&output, activation)?;
        codes_of(lhs)?;
        let has_bias = node.inputs.get(bias_place).is_some_and(|&index| index >= 0);
        if !has_bias {
            let wide = lhs.dtype() == DType::Int16;
            return Ok((if wide { stage.rounding(Rounding::FixedWide) } else { stage }, LayerBias::None));
        }
        let tensor = self.input(node, bias_place)?;
        if tensor.kind != Kind::INT64 {
            return Ok((stage, LayerBias::Narrow(self.constant(tensor)?.into())));
        }
        let data = &self.bytes[tensor.data.clone()];
        require!(!data.is_empty(), "its bias is computed, but it must be data of the file");
        self.spend(data.len())?;
        Ok((stage.rounding(Rounding::FixedWide), LayerBias::Wide(integers(data).collect())))
    }

    pub(super) fn conv(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
        let Some(options) = options else { refuse!("it has no options") };
        let depthwise = node.op == Builtin::DEPTHWISE_CONV_2D;
        let (value, lhs) = self.operand(node, 0)?;
        require!(lhs.shape().rank() == 4, "its image is {lhs}, but it must have 4 dimensions");
        let channels = lhs.shape().row_length();
        let mut weights = self.weights(node, 1)?;
        require!(
            weights.dims().len() == 4,
            "its weights are {}, but they must have 4 dimensions",
            weights.tensor_type()
        );
        let groups = if depthwise {
            require!(
                weights.dims()[0] == 1,
                "its weights are {}, but their first dimension must be 1",
                weights.tensor_type()
            );
            weights = weights.permuted(&[3, 1, 2, 0])?;
            channels
        } else {
            // A convolution of which each output reads part of the channels is grouped.
            let per_group = weights.dims()[3];
            let divides = per_group > 0 && channels.is_multiple_of(per_group);
            require!(divides, "its weights {} don't fit the image {lhs}", weights.tensor_type());
            channels / per_group
        };
        let shift = usize::from(depthwise);
        let stride = sizes([options.i32(2, 0)?, options.i32(1, 0)?])?;
        let dilation = sizes([options.i32(5 + shift, 1)?, options.i32(4 + shift, 1)?])?;
        let (stage, bias) = self.layer(node, &lhs, 2, options.i8(3 + shift)?)?;
        let conv = Conv::new(lhs, weights).groups(groups).stride(stride).dilation(dilation);
        let conv = conv.padding(padding(options.i8(0)?)?).output(stage);
        self.add(bias.of(conv).build()?, &[value])
    }

    pub(super) fn transpose_conv(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
        let Some(options) = options else { refuse!("it has no options") };
        let (value, lhs) = self.operand(node, 2)?;
        let weights = self.weights(node, 1)?;
        let output = self.output(node)?.dims()?;
        let ranks = [lhs.shape().rank(), weights.dims().len(), output.len()];
        require!(ranks == [4; 3], "its image, weights and output have {ranks:?} dimensions, but must have 4");
        let (same, stride) = (padding(options.i8(0)?)?, sizes([options.i32(2, 0)?, options.i32(1, 0)?])?);
        require!(!stride.contains(&0), "its stride is {stride:?}, but it must be at least 1");
        let mut begin = Vec::new();
        for axis in 0..2 {
            let (out, kernel, stride) = (output[axis + 1], weights.dims()[axis + 1], stride[axis]);
            let windows = match same {
                Padding::SameUpper => out.div_ceil(stride),
                _ => (out + stride).saturating_sub(kernel) / stride,
            };
            begin.push((windows.saturating_sub(1) * stride + kernel).saturating_sub(out) / 2);
        }
        let (stage, bias) = self.layer(node, &lhs, 3, options.i8(3)?)?;
        let end = vec![0; 2];
        let conv = Conv::new(lhs, weights).transposed().stride(stride).padding(Padding::Explicit { begin, end });
        let conv = conv.output_size(&output[1..3]).output(stage);
        self.add(bias.of(conv).build()?, &[value])
    }

    pub(super) fn fully_connected(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
        let i8_of = |field: usize| options.as_ref().map_or(Ok(0), |options| options.i8(field));
        require!(i8_of(1)? == 0, "its weights are shuffled");
        let (value, lhs) = self.operand(node, 0)?;
        let weights = self.weights(node, 1)?;
        let &[n, k] = weights.dims() else {
            refuse!("its weights are {}, but they must have 2 dimensions", weights.tensor_type());
        };
        let elements = lhs.shape().elements();
        require!(k > 0 && elements.is_multiple_of(k), "its input {lhs} has no rows of {k}");
        let m = elements / k;
        let rows = self.reshaped(value, &[m, k])?;
        let lhs = self.graph.tensor_type(rows)?.clone();
        let (stage, bias) = self.layer(node, &lhs, 2, i8_of(0)?)?;
        let Some(scales) = weights.tensor_type().quantization() else {
            refuse!("its weights {} have no scale", weights.tensor_type());
        };
        let (input, out_scale) = (f64::from(codes_of(&lhs)?.scale), f64::from(stage.scale()));
        let real = |&scale: &f32| input * f64::from(scale) / out_scale;
        let multiplier = |scale| codes::whole_product(real(scale), stage.bounds(), stage.zero_point());
        let multipliers = scales.scales().iter().map(multiplier).collect::<Result<Vec<_>>>()?;
        let stage = stage.multipliers(multipliers);
        let weights = Arc::new(weights);
        let rounded = |rounding: Rounding| {
            let matmul =
                Matmul::new(lhs.clone(), weights.clone()).transposed().output(stage.clone().rounding(rounding));
            match &bias {
                LayerBias::None => matmul.build(),
                LayerBias::Narrow(bias) => matmul.bias(bias.clone()).build(),
                LayerBias::Wide(bias) => matmul.wide_bias(bias.clone()).build(),
            }
        };
        let matmul = match rounded(Rounding::FixedSingle) {
            // Sums of more than 32 bits are rounded in one way only.
            Err(_) if lhs.dtype() == DType::Int16 => rounded(Rounding::FixedWide)?,
            matmul => matmul?,
        };
        let product = self.add(matmul, &[rows])?;
        let dims = self.output(node)?.dims()?;
        require!(dims.last() == Some(&n), "its output has the dimensions {dims:?}, but {n} columns");
        self.reshaped(product, &dims)
    }

    pub(super) fn arithmetic(&mut self, node: &Node, activation: i8) -> Result<Value> {
        let (a, lhs) = self.operand(node, 0)?;
        let (b, rhs) = self.operand(node, 1)?;
        let output = self.output(node)?.tensor_type()?;
        let stage = requantization(&output, activation)?;
        if node.op == Builtin::MUL {
            // The kernel multiplies scales in f32.
            let real = codes_of(&lhs)?.scale * codes_of(&rhs)?.scale / stage.scale();
            let stage = stage.multipliers([Multiplier::of(real.into())?]);
            return self.add(Multiply::new(lhs, rhs, stage).build()?, &[a, b]);
        }
        let add = Add::new(lhs, rhs, stage);
        let add = if node.op == Builtin::SUB { add.subtract() } else { add };
        self.add(add.build()?, &[a, b])
    }

    pub(super) fn pool(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
        let Some(options) = options else { refuse!("it has no options") };
        let (value, input) = self.operand(node, 0)?;
        let stride = sizes([options.i32(2, 0)?, options.i32(1, 0)?])?;
        let kernel = sizes([options.i32(4, 0)?, options.i32(3, 0)?])?;
        let padding = padding(options.i8(0)?)?;
        // Codes are reduced as they are: the input's scale is the output's.
        let stage = requantization(&input, options.i8(5)?)?;
        let (low, high) = stage.bounds();
        if node.op == Builtin::AVERAGE_POOL_2D {
            let pool = Pool::average(input, kernel).stride(stride).padding(padding);
            let pool = pool.arithmetic(QuantizedArithmetic::Codes).output(stage).build()?;
            return self.add(pool, &[value]);
        }
        let pool = Pool::max(input.clone(), kernel).stride(stride).padding(padding).build()?;
        let pooled = self.add(pool, &[value])?;
        if Some((low, high)) == input.dtype().range() {
            return Ok(pooled);
        }
        self.tabulated(pooled, |code| code.clamp(low, high))
    }

    /// `function` of each code of a value, whose type stays.
    fn tabulated(&mut self, value: Value, function: impl Fn(i32) -> i32) -> Result<Value> {
        let tensor_type = self.graph.tensor_type(value)?.clone();
        let entries = codes::table(tensor_type.dtype(), function);
        self.add(Table::from_bytes(tensor_type.clone(), tensor_type, entries)?, &[value])
    }

    pub(super) fn extremum(&mut self, node: &Node) -> Result<Value> {
        let (a, lhs) = self.operand(node, 0)?;
        let (b, rhs) = self.operand(node, 1)?;
        let same = lhs.dims() == rhs.dims() && lhs.quantization() == rhs.quantization() && lhs.dtype() == rhs.dtype();
        require!(same, "its operands are {lhs} and {rhs}, but they must have one shape and one scale");
        codes_of(&lhs)?;
        let (low, high) = lhs.dtype().range().unwrap_or((0, 0));
        let flipped = |code: i32| high - (code - low);
        let [mut a, mut b] = [a, b];
        let minimum = node.op == Builtin::MINIMUM;
        if minimum {
            (a, b) = (self.tabulated(a, flipped)?, self.tabulated(b, flipped)?);
        }
        // The maximum of two is that of a window over both: [rows, 2, columns].
        let (rows, columns) = (lhs.shape().rows(), lhs.shape().row_length());
        let [a, b] = [self.reshaped(a, &[rows, 1, columns])?, self.reshaped(b, &[rows, 1, columns])?];
        let types = [self.graph.tensor_type(a)?.clone(), self.graph.tensor_type(b)?.clone()];
        let both = self.add(Concat::new(types, 1).build()?, &[a, b])?;
        let pool = Pool::max(self.graph.tensor_type(both)?.clone(), [2]).build()?;
        let mut most = self.add(pool, &[both])?;
        most = self.reshaped(most, lhs.dims())?;
        if minimum { self.tabulated(most, flipped) } else { Ok(most) }
    }

    pub(super) fn mean(&mut self, node: &Node) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let dims = input.dims().to_vec();
        let axes = self.numbers(node, 1)?;
        let axes = axes.into_iter().map(|axis| axis_of(axis, dims.len())).collect::<Result<Vec<_>>>()?;
        let Some((&first, &last)) = axes.iter().min().zip(axes.iter().max()) else {
            refuse!("it has no axes");
        };
        let neighbours = (first..=last).all(|axis| axes.contains(&axis));
        require!(neighbours, "its axes {axes:?} must be neighbours: transpose its input before");
        let count: usize = dims[first..=last].iter().product();
        require!(count > 0, "its axes {axes:?} of {input} are empty");
        let outer: usize = dims[..first].iter().product();
        let inner: usize = dims[last + 1..].iter().product();
        let lines = self.reshaped(value, &[outer, count, inner])?;
        let output = self.output(node)?.tensor_type()?;
        let stage = requantization(&output, 0)?;
        let (word, shift) = Multiplier::of(f64::from(codes_of(&input)?.scale) / f64::from(stage.scale()))?.words();
        // The division by the count is part of the multiplier, which keeps as many bits as fit.
        let bits = (count.ilog2() as i32).min(32).min(31 + shift);
        let divided = (i64::from(word) << bits.max(0)) / count as i64;
        let multiplier = Multiplier::fixed(i32::try_from(divided).unwrap_or(i32::MAX), shift - bits)?;
        let pool = Pool::average(self.graph.tensor_type(lines)?.clone(), [count]);
        let mean = self.add(pool.output(stage.multipliers([multiplier])).build()?, &[lines])?;
        self.reshaped(mean, output.dims())
    }

    pub(super) fn softmax(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
        let beta = options.as_ref().map_or(Ok(0.0), |options| options.f32(0, 0.0))?;
        let (value, input) = self.operand(node, 0)?;
        let output = self.output(node)?.tensor_type()?;
        let real = self.add(Dequantize::new(input).build()?, &[value])?;
        let softmax = Softmax::new(self.graph.tensor_type(real)?.clone()).scaled(beta).build()?;
        let shares = self.add(softmax, &[real])?;
        self.add(Quantize::new(self.graph.tensor_type(shares)?.clone(), output).ties_away().build()?, &[shares])
    }

    pub(super) fn function(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let output = self.output(node)?.tensor_type()?;
        require!(input.dtype().is_8_bit(), "its input is {input}, but it must be int8 or uint8");
        let (from, to) = (codes_of(&input)?, codes_of(&output)?);
        let table = |function: &dyn Fn(i32) -> i32| codes::table(input.dtype(), function);
        let entries = match node.op {
            Builtin::LOGISTIC => table(&codes::by_function(from, to, codes::logistic)),
            Builtin::TANH => table(&codes::by_function(from, to, codes::tanh)),
            Builtin::RELU => table(&codes::clamped(from, to, (0.0, f32::INFINITY))?),
            Builtin::RELU6 => table(&codes::clamped(from, to, (0.0, 6.0))?),
            Builtin::RELU_N1_TO_1 => table(&codes::clamped(from, to, (-1.0, 1.0))?),
            Builtin::LEAKY_RELU => {
                let alpha = options.as_ref().map_or(Ok(0.0), |options| options.f32(0, 0.0))?;
                table(&codes::leaky_relu(from, to, alpha)?)
            }
            _ => table(&codes::hard_swish(from, to)?),
        };
        self.add(Table::from_bytes(input, output, entries)?, &[value])
    }

    pub(super) fn quantize(&mut self, node: &Node) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let output = self.output(node)?.tensor_type()?;
        if input.dtype() == DType::Float32 {
            return self.add(Quantize::new(input, output).ties_away().build()?, &[value]);
        }
        let (from, stage) = (codes_of(&input)?, requantization(&output, 0)?);
        let multiplier = Multiplier::of(f64::from(from.scale) / f64::from(stage.scale()))?;
        self.add(Requantize::new(input, stage.multipliers([multiplier]))?, &[value])
    }
}
