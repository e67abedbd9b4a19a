//! The ops of a graph for the nodes of a subgraph. The functions of codes are in `codes`, the file's tables in `schema`.

use std::collections::HashSet;
use std::sync::Arc;

use super::codes::{self, Codes, ROUNDING};
use super::flat::{Flat, Table as Options};
use super::schema::{Builtin, FileTensor, Kind, Node, Subgraph};
use crate::error::{Result, refuse, require};
use crate::network::{Network, Port, Problem, refuse_all};
use crate::numeric::{DType, Multiplier, Rounding};
use crate::ops::{
    Add, Concat, Conv, Coordinates, Dequantize, Matmul, Multiply, Nearest, Op, Pad, PadMode, Padding, Pool, Quantize,
    QuantizedArithmetic, Requantization, Requantize, Reshape, Resize, Slice, Softmax, Table, Transpose,
};
use crate::plan::{Graph, Value};
use crate::tensor::{Granularity, Quantization, Tensor, TensorType};

/// The most indices that are listed for an axis: a file of few bytes may claim a dimension of 2³¹.
const MOST_INDICES: usize = 1 << 16;

/// The bytes of constants may be this multiple of the file's, because tensors may share data.
const SHARED: usize = 16;

/// The graph of a subgraph, whose data is in `bytes`.
pub(super) fn network(bytes: &[u8], subgraph: &Subgraph) -> Result<Network> {
    let mut builder = Builder {
        bytes,
        subgraph,
        graph: Graph::new(),
        values: vec![None; subgraph.tensors.len()],
        broken: vec![false; subgraph.tensors.len()],
        named: HashSet::new(),
        budget: bytes.len().saturating_mul(SHARED).saturating_add(1 << 16),
    };
    let (mut problems, mut inputs) = (Vec::new(), Vec::new());
    for &index in &subgraph.inputs {
        let tensor = builder.tensor(index)?;
        require!(builder.values[index as usize].is_none(), "the tflite file lists the input {} twice", tensor.name);
        match tensor.tensor_type() {
            Ok(tensor_type) => {
                let value = builder.graph.input(tensor_type.clone());
                builder.graph.name(value, &tensor.name[..])?;
                builder.named.insert(value);
                builder.values[index as usize] = Some(value);
                inputs.push(Port::new(&tensor.name, tensor_type));
            }
            Err(error) => {
                builder.broken[index as usize] = true;
                problems.push(port_problem(tensor, "input", &error.to_string()));
            }
        }
    }
    let needed = subgraph.needed();
    for (place, node) in subgraph.nodes.iter().enumerate().filter(|&(place, _)| needed[place]) {
        let reads_broken = node.data_inputs().any(|index| builder.broken[index as usize]);
        let made = if reads_broken { Ok(false) } else { builder.node(node).map(|()| true) };
        if let Ok(true) = made {
            continue;
        }
        node.outputs.iter().for_each(|&index| builder.broken[index as usize] = true);
        if let Err(error) = made {
            let name = node.outputs.first().map_or("", |&index| &subgraph.tensors[index as usize].name);
            let known = node.inputs.iter().filter_map(|&index| subgraph.tensors.get(usize::try_from(index).ok()?));
            problems.push(Problem {
                node: format!("node {place} ({name})"),
                op: node.op_name(),
                types: known.map(FileTensor::to_string).collect(),
                reason: error.to_string(),
            });
        }
    }
    let mut outputs = Vec::new();
    for &index in &subgraph.outputs {
        if builder.broken[index as usize] {
            continue;
        }
        let tensor = builder.tensor(index)?;
        match builder.value(index) {
            Ok(value) => {
                builder.graph.output(value);
                outputs.push(Port::new(&tensor.name, builder.graph.tensor_type(value)?.clone()));
            }
            Err(error) => problems.push(port_problem(tensor, "output", &error.to_string())),
        }
    }
    refuse_all("tflite file", &problems)?;
    Ok(Network { graph: builder.graph, inputs, outputs })
}

fn port_problem(tensor: &FileTensor, what: &str, reason: &str) -> Problem {
    Problem { node: tensor.name.clone(), op: what.into(), types: vec![tensor.to_string()], reason: reason.into() }
}

impl Subgraph {
    /// For each node, true if an output needs it.
    fn needed(&self) -> Vec<bool> {
        let mut tensors = vec![false; self.tensors.len()];
        self.outputs.iter().for_each(|&index| tensors[index as usize] = true);
        let mut needed = vec![false; self.nodes.len()];
        // Nodes come after those that they read.
        for (place, node) in self.nodes.iter().enumerate().rev() {
            needed[place] = node.outputs.iter().any(|&index| tensors[index as usize]);
            if needed[place] {
                node.data_inputs().for_each(|index| tensors[index as usize] = true);
            }
        }
        needed
    }
}

impl Node {
    /// The inputs that the op reads at run time: not those that only give a shape or an axis.
    fn data_inputs(&self) -> impl Iterator<Item = i32> {
        let range = match self.op {
            Builtin::SPLIT => 1..2,
            Builtin::TRANSPOSE_CONV => 2..3,
            Builtin::RESHAPE
            | Builtin::SQUEEZE
            | Builtin::EXPAND_DIMS
            | Builtin::MEAN
            | Builtin::PAD
            | Builtin::PADV2
            | Builtin::MIRROR_PAD
            | Builtin::STRIDED_SLICE
            | Builtin::SLICE
            | Builtin::SPLIT_V
            | Builtin::TRANSPOSE
            | Builtin::RESIZE_BILINEAR
            | Builtin::RESIZE_NEAREST_NEIGHBOR
            | Builtin::GATHER => 0..1,
            _ => 0..self.inputs.len(),
        };
        self.inputs.iter().skip(range.start).take(range.len()).copied().filter(|&index| index >= 0)
    }
}

impl FileTensor {
    fn dims(&self) -> Result<Vec<usize>> {
        let dims = self.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<Vec<_>>>();
        match dims {
            Some(dims) => Ok(dims),
            None => refuse!("{self} has an unknown dimension: convert the network with fixed shapes"),
        }
    }

    fn dtype(&self) -> Result<DType> {
        Ok(match self.kind {
            Kind::FLOAT32 => DType::Float32,
            Kind::FLOAT16 => DType::Float16,
            Kind::INT32 | Kind::INT64 => DType::Int32,
            Kind::UINT8 | Kind::BOOL => DType::Uint8,
            Kind::INT16 => DType::Int16,
            Kind::INT8 => DType::Int8,
            Kind::INT4 => DType::Int4,
            kind => refuse!("{self} holds {}, which no tensor of a graph does", kind.name()),
        })
    }

    /// The type in a graph. 64-bit integers are int32 there.
    fn tensor_type(&self) -> Result<TensorType> {
        if let Some(odd) = self.odd {
            refuse!("{self} can't be a tensor of a graph: {odd}");
        }
        let plain = TensorType::new(self.dtype()?, self.dims()?)?;
        match self.quantization()? {
            Some(quantization) => plain.quantized(quantization),
            None => Ok(plain),
        }
    }

    fn quantization(&self) -> Result<Option<Quantization>> {
        // The scale of a bias is the product of the operands' scales.
        if self.scales.is_empty() || !matches!(self.kind, Kind::INT8 | Kind::UINT8 | Kind::INT16 | Kind::INT4) {
            return Ok(None);
        }
        let zero_points = self.zero_points.iter().map(|&z| i32::try_from(z)).collect::<Result<Vec<_>, _>>();
        let Ok(mut zero_points) = zero_points else {
            refuse!("{self} has a zero point beyond 32 bits");
        };
        if zero_points.is_empty() {
            zero_points.push(0);
        }
        let granularity = match (self.scales.len(), usize::try_from(self.axis)) {
            (1, _) => Granularity::Tensor,
            (_, Ok(axis)) => Granularity::Axis(axis),
            (_, Err(_)) => refuse!("{self} has scales along axis {}", self.axis),
        };
        Ok(Some(Quantization::new(granularity, self.scales.clone(), zero_points)))
    }
}

/// The codes of an activation: 8- or 16-bit, with one scale.
fn codes_of(tensor_type: &TensorType) -> Result<Codes> {
    let one = tensor_type.quantization().filter(|q| q.granularity() == Granularity::Tensor);
    let Some(quantization) = one else {
        refuse!("{tensor_type} has {}, but a quantized network has one scale for it", tensor_type.describe_scales());
    };
    Ok(Codes::new(tensor_type.dtype(), quantization.scale(0), quantization.zero_point(0)))
}

/// A requantization to the codes of an output, clamped by a fused activation.
fn requantization(output: &TensorType, activation: i8) -> Result<Requantization> {
    let codes = codes_of(output)?;
    let (low, high) = codes::activation(activation)?;
    let (low, high) = codes.between(low, high);
    Requantization::new(output.dtype(), codes.scale, codes.zero_point)?.rounding(ROUNDING).clamp(low, high)
}

/// SAME or VALID.
fn padding(number: i8) -> Result<Padding> {
    Ok(match number {
        0 => Padding::SameUpper,
        1 => Padding::None,
        number => refuse!("its padding has number {number}, but SAME and VALID are read"),
    })
}

fn sizes(values: [i32; 2]) -> Result<Vec<usize>> {
    let sizes = values.map(usize::try_from);
    match sizes {
        [Ok(height), Ok(width)] => Ok(vec![height, width]),
        _ => refuse!("a stride, dilation or kernel is {values:?}, but it can't be negative"),
    }
}

/// An axis, counted from the end if it is negative.
fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    let found = usize::try_from(counted).ok().filter(|&found| found < rank);
    match found {
        Some(found) => Ok(found),
        None => refuse!("axis {axis} of a tensor with {rank} dimensions"),
    }
}

struct Builder<'a> {
    bytes: &'a [u8],
    subgraph: &'a Subgraph,
    graph: Graph,
    /// The value of each tensor that has one.
    values: Vec<Option<Value>>,
    /// The tensors that an op would make that there isn't.
    broken: Vec<bool>,
    /// The values that have a name.
    named: HashSet<Value>,
    /// Bytes of constants that may still be made.
    budget: usize,
}

impl<'a> Builder<'a> {
    fn tensor(&self, index: i32) -> Result<&'a FileTensor> {
        match usize::try_from(index).ok().and_then(|index| self.subgraph.tensors.get(index)) {
            Some(tensor) => Ok(tensor),
            None => refuse!("an input is left out"),
        }
    }

    fn input(&self, node: &Node, place: usize) -> Result<&'a FileTensor> {
        self.tensor(node.inputs.get(place).copied().unwrap_or(-1))
    }

    fn output(&self, node: &Node) -> Result<&'a FileTensor> {
        let Some(&index) = node.outputs.first() else { refuse!("it has no output") };
        self.tensor(index)
    }

    /// The value of an input that is no option of the op.
    fn operand(&mut self, node: &Node, place: usize) -> Result<(Value, TensorType)> {
        let value = self.value(node.inputs.get(place).copied().unwrap_or(-1))?;
        Ok((value, self.graph.tensor_type(value)?.clone()))
    }

    /// The value of a tensor: made before, or data of the file.
    fn value(&mut self, index: i32) -> Result<Value> {
        let tensor = self.tensor(index)?;
        if let Some(value) = self.values[index as usize] {
            return Ok(value);
        }
        require!(!tensor.data.is_empty(), "{} is neither an input nor made by a node before", tensor.name);
        let constant = self.constant(tensor)?;
        let value = self.graph.constant(constant);
        self.values[index as usize] = Some(value);
        Ok(value)
    }

    /// A tensor whose data is in the file.
    fn constant(&mut self, tensor: &FileTensor) -> Result<Tensor> {
        let data = &self.bytes[tensor.data.clone()];
        require!(!data.is_empty(), "{} is computed, but it must be data of the file", tensor.name);
        let tensor_type = tensor.tensor_type()?;
        let wide = tensor.kind == Kind::INT64;
        let bits = if wide { 64 } else { tensor_type.dtype().bits() };
        let expected = (tensor_type.shape().elements() * bits).div_ceil(8);
        require!(data.len() == expected, "{tensor} has {} bytes of data, but needs {expected}", data.len());
        self.spend(expected)?;
        if !wide {
            return Tensor::from_packed(tensor_type, data);
        }
        let narrow = integers(data).map(i32::try_from).collect::<Result<Vec<_>, _>>();
        let Ok(narrow) = narrow else { refuse!("{tensor} has a number beyond 32 bits") };
        Tensor::new(tensor_type.dims(), narrow)
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        let Some(left) = self.budget.checked_sub(bytes) else {
            refuse!("the constants of the file are more than {SHARED} times its {} bytes", self.bytes.len());
        };
        self.budget = left;
        Ok(())
    }

    /// The numbers of an input that says a shape, an axis or indices.
    fn numbers(&mut self, node: &Node, place: usize) -> Result<Vec<i64>> {
        let tensor = self.input(node, place)?;
        let data = &self.bytes[tensor.data.clone()];
        let known = !data.is_empty() || tensor.dims.contains(&0);
        require!(known, "{} is computed, but it must be data of the file", tensor.name);
        self.spend(2 * data.len())?;
        Ok(match tensor.kind {
            Kind::INT64 => integers(data).collect(),
            Kind::INT32 => data.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect(),
            kind => refuse!("{} holds {}, but it must be int32 or int64", tensor.name, kind.name()),
        })
    }

    /// The weights of a layer.
    fn weights(&mut self, node: &Node, place: usize) -> Result<Tensor> {
        let tensor = self.input(node, place)?;
        let narrow = matches!(tensor.kind, Kind::INT8 | Kind::UINT8 | Kind::INT4);
        require!(narrow, "its weights are {tensor}, but int8, uint8 and int4 are read");
        self.constant(tensor)
    }

    fn add(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Value> {
        self.graph.add(op, inputs)
    }

    /// The elements of a value under other dimensions.
    fn reshaped(&mut self, value: Value, dims: &[usize]) -> Result<Value> {
        let tensor_type = self.graph.tensor_type(value)?.clone();
        if tensor_type.dims() == dims {
            return Ok(value);
        }
        match self.graph.reshape(value, dims) {
            Ok(reshaped) => Ok(reshaped),
            Err(_) => self.add(Reshape::new(tensor_type, dims)?, &[value]),
        }
    }

    /// Adds the ops of a node, and gives its outputs their values.
    fn node(&mut self, node: &Node) -> Result<()> {
        let bytes = self.bytes;
        let flat = Flat::new(bytes);
        let options = node.options.map(|at| flat.table(at)).transpose()?;
        let made = self.ops(node, &options)?;
        require!(
            made.len() == node.outputs.len(),
            "it makes {} tensors, but has {} outputs",
            made.len(),
            node.outputs.len()
        );
        for (&index, value) in node.outputs.iter().zip(made) {
            let tensor = self.tensor(index)?;
            let (expected, is) = (tensor.tensor_type()?, self.graph.tensor_type(value)?.clone());
            require!(
                expected.dtype() == is.dtype() && expected.dims() == is.dims(),
                "it makes {is}, but the file has {tensor} for it"
            );
            // Ops that move codes leave them what they are, under any scale.
            let value = match expected.quantization() {
                Some(quantization) if is.quantization() != Some(quantization) => {
                    self.graph.rescaled(value, quantization.clone())?
                }
                _ => value,
            };
            require!(self.values[index as usize].is_none(), "it makes {}, which there is already", tensor.name);
            if self.named.insert(value) {
                self.graph.name(value, &tensor.name[..])?;
            }
            self.values[index as usize] = Some(value);
        }
        Ok(())
    }

    /// The values that a node makes.
    fn ops(&mut self, node: &Node, options: &Option<Options>) -> Result<Vec<Value>> {
        let one = |value: Value| vec![value];
        let i32_of = |field: usize| options.as_ref().map_or(Ok(0), |options| options.i32(field, 0));
        let i8_of = |field: usize| options.as_ref().map_or(Ok(0), |options| options.i8(field));
        let bool_of = |field: usize| options.as_ref().map_or(Ok(false), |options| options.bool(field));
        match node.op {
            Builtin::CONV_2D | Builtin::DEPTHWISE_CONV_2D => self.conv(node, options).map(one),
            Builtin::TRANSPOSE_CONV => self.transpose_conv(node, options).map(one),
            Builtin::FULLY_CONNECTED => self.fully_connected(node, options).map(one),
            Builtin::ADD | Builtin::SUB | Builtin::MUL => self.arithmetic(node, i8_of(0)?).map(one),
            Builtin::AVERAGE_POOL_2D | Builtin::MAX_POOL_2D => self.pool(node, options).map(one),
            Builtin::MAXIMUM | Builtin::MINIMUM => self.extremum(node).map(one),
            Builtin::MEAN => self.mean(node).map(one),
            Builtin::SOFTMAX => self.softmax(node, options).map(one),
            Builtin::LOGISTIC
            | Builtin::TANH
            | Builtin::RELU
            | Builtin::RELU6
            | Builtin::RELU_N1_TO_1
            | Builtin::LEAKY_RELU
            | Builtin::HARD_SWISH => self.function(node, options).map(one),
            Builtin::QUANTIZE => self.quantize(node).map(one),
            Builtin::DEQUANTIZE => {
                let (value, tensor_type) = self.operand(node, 0)?;
                let output = self.output(node)?.dtype()?;
                self.add(Dequantize::new(tensor_type).output(output).build()?, &[value]).map(one)
            }
            Builtin::RESHAPE | Builtin::SQUEEZE | Builtin::EXPAND_DIMS => {
                let dims = self.output(node)?.dims()?;
                let (value, _) = self.operand(node, 0)?;
                self.reshaped(value, &dims).map(one)
            }
            Builtin::TRANSPOSE => {
                let (value, tensor_type) = self.operand(node, 0)?;
                let order = self.numbers(node, 1)?;
                let rank = tensor_type.shape().rank();
                let order = order.into_iter().map(|axis| axis_of(axis, rank)).collect::<Result<Vec<_>>>()?;
                self.add(Transpose::new(tensor_type, order)?, &[value]).map(one)
            }
            Builtin::PAD | Builtin::PADV2 | Builtin::MIRROR_PAD => self.pad(node, i8_of(0)?).map(one),
            Builtin::RESIZE_BILINEAR => self.resize_bilinear(node, bool_of(2)?, bool_of(3)?).map(one),
            Builtin::RESIZE_NEAREST_NEIGHBOR => self.resize_nearest(node, bool_of(0)?, bool_of(1)?).map(one),
            Builtin::CONCATENATION => self.concatenation(node, i32_of(0)?, i8_of(1)?).map(one),
            Builtin::PACK => self.pack(node, i32_of(1)?).map(one),
            Builtin::UNPACK => self.unpack(node, i32_of(1)?),
            Builtin::SPLIT | Builtin::SPLIT_V => self.split(node),
            Builtin::SLICE => self.slice(node).map(one),
            Builtin::STRIDED_SLICE => {
                let masks = (0..5).map(i32_of).collect::<Result<Vec<_>>>()?;
                self.strided_slice(node, &masks).map(one)
            }
            Builtin::GATHER => self.gather(node, i32_of(0)?, i32_of(1)?).map(one),
            _ => refuse!("no op of a graph computes it"),
        }
    }

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

    fn conv(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
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
        let conv = match bias {
            LayerBias::None => conv,
            LayerBias::Narrow(bias) => conv.bias(bias),
            LayerBias::Wide(bias) => conv.wide_bias(bias),
        };
        self.add(conv.build()?, &[value])
    }

    fn transpose_conv(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
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
        let conv = match bias {
            LayerBias::None => conv,
            LayerBias::Narrow(bias) => conv.bias(bias),
            LayerBias::Wide(bias) => conv.wide_bias(bias),
        };
        self.add(conv.build()?, &[value])
    }

    fn fully_connected(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
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

    fn arithmetic(&mut self, node: &Node, activation: i8) -> Result<Value> {
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

    fn pool(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
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

    fn extremum(&mut self, node: &Node) -> Result<Value> {
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

    fn mean(&mut self, node: &Node) -> Result<Value> {
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

    fn softmax(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
        let beta = options.as_ref().map_or(Ok(0.0), |options| options.f32(0, 0.0))?;
        let (value, input) = self.operand(node, 0)?;
        let output = self.output(node)?.tensor_type()?;
        let real = self.add(Dequantize::new(input).build()?, &[value])?;
        let softmax = Softmax::new(self.graph.tensor_type(real)?.clone()).scaled(beta).build()?;
        let shares = self.add(softmax, &[real])?;
        self.add(Quantize::new(self.graph.tensor_type(shares)?.clone(), output).ties_away().build()?, &[shares])
    }

    fn function(&mut self, node: &Node, options: &Option<Options>) -> Result<Value> {
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

    fn quantize(&mut self, node: &Node) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let output = self.output(node)?.tensor_type()?;
        if input.dtype() == DType::Float32 {
            return self.add(Quantize::new(input, output).ties_away().build()?, &[value]);
        }
        let (from, stage) = (codes_of(&input)?, requantization(&output, 0)?);
        let multiplier = Multiplier::of(f64::from(from.scale) / f64::from(stage.scale()))?;
        self.add(Requantize::new(input, stage.multipliers([multiplier]))?, &[value])
    }

    fn pad(&mut self, node: &Node, mode: i8) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let pads = self.numbers(node, 1)?;
        let rank = input.shape().rank();
        require!(pads.len() == 2 * rank, "it has {} paddings, but its input {input} needs {}", pads.len(), 2 * rank);
        let pads = pads.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
        let Ok(pads) = pads else { refuse!("a padding is negative") };
        let (begin, end): (Vec<_>, Vec<_>) = pads.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
        match node.op {
            Builtin::PAD => self.add(Pad::new(input, begin, end, PadMode::Zero)?, &[value]),
            Builtin::PADV2 => {
                let tensor = self.input(node, 2)?;
                let fill = self.constant(tensor)?;
                require!(fill.tensor_type().shape().elements() == 1, "it pads with {tensor}, but with one element");
                let mode = match fill.dtype() {
                    DType::Float32 | DType::Float16 => {
                        require!(fill.reals()[0] == 0.0, "it pads floats with {}, but only with 0", fill.reals()[0]);
                        PadMode::Zero
                    }
                    _ => PadMode::Code(fill.code(0)),
                };
                self.add(Pad::new(input, begin, end, mode)?, &[value])
            }
            _ if mode == 0 => self.add(Pad::new(input, begin, end, PadMode::Reflect)?, &[value]),
            _ => {
                let mut padded = value;
                for (axis, (&before, &after)) in begin.iter().zip(&end).enumerate() {
                    let extent = input.dims()[axis];
                    require!(before.max(after) <= extent, "axis {axis} of {input} is padded by more than it has");
                    if before + after > 0 {
                        self.spend(8 * (before + extent + after))?;
                        let indices = (0..before).rev().chain(0..extent).chain((extent - after..extent).rev());
                        padded = self.taken(padded, axis, indices.collect())?;
                    }
                }
                Ok(padded)
            }
        }
    }

    /// These indices of one axis of a value.
    fn taken(&mut self, value: Value, axis: usize, indices: Vec<usize>) -> Result<Value> {
        let tensor_type = self.graph.tensor_type(value)?.clone();
        self.add(Slice::take(tensor_type, axis, indices)?, &[value])
    }

    fn resize_bilinear(&mut self, node: &Node, align: bool, half_pixel: bool) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        require!(
            input.dtype() == DType::Int8,
            "its input is {input}, but it must be int8: other types are interpolated in floats"
        );
        let output = self.output(node)?.dims()?;
        require!(output.len() == 4, "its output has {} dimensions, but it must have 4", output.len());
        let coordinates = match (align, half_pixel) {
            (true, true) => refuse!("it aligns corners and has half pixel centers, but only one is possible"),
            (true, false) => Coordinates::AlignCorners,
            (false, true) => Coordinates::HalfPixel,
            (false, false) => Coordinates::Asymmetric,
        };
        let resize = Resize::linear(input, &output[1..3]).ten_bits().coordinates(coordinates);
        self.add(resize.build()?, &[value])
    }

    fn resize_nearest(&mut self, node: &Node, align: bool, half_pixel: bool) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let output = self.output(node)?.dims()?;
        let ranks = [input.shape().rank(), output.len()];
        require!(ranks == [4; 2], "its input and output have {ranks:?} dimensions, but they must have 4");
        // Positions are f32.
        let source = |axis: usize, index: usize| {
            let (from, to) = (input.dims()[axis], output[axis]);
            let scale = if align && to > 1 { (from - 1) as f32 / (to - 1) as f32 } else { from as f32 / to as f32 };
            let offset = if half_pixel { 0.5 } else { 0.0 };
            let place = (index as f32 + offset) * scale;
            let place = if align { place.round() } else { place.floor() };
            (place.max(0.0) as usize).min(from.saturating_sub(1))
        };
        for axis in 1..3 {
            let most = output[axis];
            require!(
                most <= MOST_INDICES,
                "its output has {most} elements along axis {axis}, but at most {MOST_INDICES} are read"
            );
            require!(input.dims()[axis] > 0 || most == 0, "its input {input} is empty");
        }
        let resize = Resize::nearest(input.clone(), &output[1..3]).coordinates(Coordinates::Asymmetric);
        let exact = resize.rounding(Nearest::Floor).build()?;
        let equal =
            |axis: usize| (0..output[axis]).all(|i| exact.nearest_index(Nearest::Floor, axis, i) == source(axis, i));
        if equal(1) && equal(2) {
            return self.add(exact, &[value]);
        }
        let [rows, columns] = [1, 2].map(|axis| (0..output[axis]).map(|i| source(axis, i)).collect::<Vec<_>>());
        let taken = self.taken(value, 1, rows)?;
        self.taken(taken, 2, columns)
    }

    fn concatenation(&mut self, node: &Node, axis: i32, activation: i8) -> Result<Value> {
        require!(activation == 0, "it has a fused activation, but a concatenation is read without one");
        let output = self.output(node)?.tensor_type()?;
        let axis = axis_of(axis.into(), output.shape().rank())?;
        let (mut values, mut types) = (Vec::new(), Vec::new());
        for place in 0..node.inputs.len() {
            let (mut value, mut input) = self.operand(node, place)?;
            let scales = input.quantization() != output.quantization();
            if scales && input.dtype() == DType::Uint8 && output.dtype() == DType::Uint8 {
                let (from, to) = (codes_of(&input)?, codes_of(&output)?);
                let scale = from.scale * (1.0 / to.scale);
                let bias = -from.zero_point as f32 * scale;
                let function = |code: i32| {
                    let steps = (code as f32 * scale + bias).round() as i32;
                    steps.saturating_add(to.zero_point).clamp(to.low, to.high)
                };
                let entries = codes::table(DType::Uint8, function);
                let same = TensorType::new(DType::Uint8, input.dims())?;
                let same = same.quantized(Quantization::tensor(to.scale, to.zero_point))?;
                value = self.add(Table::from_bytes(input, same, entries)?, &[value])?;
                input = self.graph.tensor_type(value)?.clone();
            } else if scales {
                require!(
                    output.dtype().bits() > 16,
                    "input {place} has {} and the output {}, but only uint8 is rescaled: quantize them alike",
                    input.describe_scales(),
                    output.describe_scales()
                );
            }
            values.push(value);
            types.push(input);
        }
        self.add(Concat::new(types, axis).build()?, &values)
    }

    fn pack(&mut self, node: &Node, axis: i32) -> Result<Value> {
        let output = self.output(node)?.dims()?;
        let axis = axis_of(axis.into(), output.len())?;
        let (mut values, mut types) = (Vec::new(), Vec::new());
        for place in 0..node.inputs.len() {
            let (value, input) = self.operand(node, place)?;
            let mut dims = input.dims().to_vec();
            require!(axis <= dims.len(), "it packs {input} along axis {axis}");
            dims.insert(axis, 1);
            let value = self.reshaped(value, &dims)?;
            types.push(self.graph.tensor_type(value)?.clone());
            values.push(value);
        }
        self.add(Concat::new(types, axis).build()?, &values)
    }

    /// `sizes[axis]` indices of one axis of a value from `begin` on.
    fn part(&mut self, value: Value, axis: usize, begin: usize, size: usize) -> Result<Value> {
        let input = self.graph.tensor_type(value)?.clone();
        let mut sizes = input.dims().to_vec();
        let mut begins = vec![0; sizes.len()];
        (begins[axis], sizes[axis]) = (begin, size);
        self.add(Slice::new(input, begins, sizes).build()?, &[value])
    }

    fn unpack(&mut self, node: &Node, axis: i32) -> Result<Vec<Value>> {
        let (value, input) = self.operand(node, 0)?;
        let axis = axis_of(axis.into(), input.shape().rank())?;
        let mut dims = input.dims().to_vec();
        let count = dims.remove(axis);
        require!(count == node.outputs.len(), "it has {} outputs, but axis {axis} of {input}", node.outputs.len());
        (0..count).map(|i| self.part(value, axis, i, 1).and_then(|part| self.reshaped(part, &dims))).collect()
    }

    fn split(&mut self, node: &Node) -> Result<Vec<Value>> {
        let (data, of_axis) = if node.op == Builtin::SPLIT { (1, 0) } else { (0, 2) };
        let (value, input) = self.operand(node, data)?;
        let axis = self.numbers(node, of_axis)?;
        let &[axis] = &axis[..] else { refuse!("it has {} axes, but it must have one", axis.len()) };
        let axis = axis_of(axis, input.shape().rank())?;
        let mut begin = 0;
        let mut parts = Vec::new();
        for &index in &node.outputs {
            let size = self.tensor(index)?.dims()?.get(axis).copied().unwrap_or(0);
            parts.push(self.part(value, axis, begin, size)?);
            begin = begin.saturating_add(size);
        }
        Ok(parts)
    }

    fn slice(&mut self, node: &Node) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let (begin, sizes) = (self.numbers(node, 1)?, self.numbers(node, 2)?);
        let rank = input.shape().rank();
        require!(begin.len() == rank && sizes.len() == rank, "it has {} begins for {input}", begin.len());
        let mut begins = Vec::new();
        let mut counts = Vec::new();
        for axis in 0..rank {
            let Ok(begin) = usize::try_from(begin[axis]) else { refuse!("a begin is negative") };
            begins.push(begin);
            counts.push(match usize::try_from(sizes[axis]) {
                Ok(size) => size,
                Err(_) => input.dims()[axis].saturating_sub(begin),
            });
        }
        self.add(Slice::new(input, begins, counts).build()?, &[value])
    }

    fn strided_slice(&mut self, node: &Node, masks: &[i32]) -> Result<Value> {
        let &[begin_mask, end_mask, ellipsis, new_axis, shrink] = masks else { refuse!("it has no masks") };
        require!(ellipsis == 0 && new_axis == 0, "it has an ellipsis or a new axis, which are not read");
        let (value, input) = self.operand(node, 0)?;
        let (begin, end, steps) = (self.numbers(node, 1)?, self.numbers(node, 2)?, self.numbers(node, 3)?);
        let rank = input.shape().rank();
        let counts = [begin.len(), end.len(), steps.len()];
        require!(counts[0] <= rank && counts == [counts[0]; 3], "it has {counts:?} begins, ends and steps for {input}");
        let (mut begins, mut sizes, mut strides) = (vec![0; rank], input.dims().to_vec(), vec![1isize; rank]);
        for axis in 0..counts[0] {
            let has = |mask: i32| mask >> axis.min(31) & 1 == 1;
            let extent = input.dims()[axis] as i64;
            let step = steps[axis];
            require!(step != 0 && step.unsigned_abs() <= i32::MAX as u64, "its step along axis {axis} is {step}");
            let counted = |place: i64| if place < 0 { place.saturating_add(extent) } else { place };
            // Without bounds a slice goes from one end to the other.
            let (least, most) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
            let first = match (has(begin_mask), step > 0) {
                (true, true) => 0,
                (true, false) => extent - 1,
                (false, _) => counted(begin[axis]).clamp(least, most),
            };
            let last = match (has(end_mask), step > 0) {
                (true, true) => extent,
                (true, false) => -1,
                (false, _) => counted(end[axis]).clamp(least, most),
            };
            let count = if has(shrink) { 1 } else { ((last - first + step - step.signum()) / step).max(0) };
            begins[axis] = usize::try_from(first).unwrap_or(0);
            (sizes[axis], strides[axis]) = (count as usize, if count > 1 { step as isize } else { 1 });
        }
        let slice = Slice::new(input, begins, sizes).steps(strides).build()?;
        let part = self.add(slice, &[value])?;
        let dims = self.output(node)?.dims()?;
        self.reshaped(part, &dims)
    }

    fn gather(&mut self, node: &Node, axis: i32, batch: i32) -> Result<Value> {
        require!(batch == 0, "it gathers by batch, which is not read");
        let (value, input) = self.operand(node, 0)?;
        let axis = axis_of(axis.into(), input.shape().rank())?;
        let indices = self.numbers(node, 1)?;
        let indices = indices.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
        let Ok(indices) = indices else { refuse!("an index is negative") };
        let taken = self.taken(value, axis, indices)?;
        let dims = self.output(node)?.dims()?;
        self.reshaped(taken, &dims)
    }
}

/// The bias of a layer.
enum LayerBias {
    None,
    Narrow(Arc<Tensor>),
    Wide(Arc<[i64]>),
}

/// The 64-bit integers of bytes.
fn integers(data: &[u8]) -> impl Iterator<Item = i64> {
    data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes))
}
