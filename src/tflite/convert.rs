//! The graph of a subgraph: its inputs and outputs, tensors, and the choice of the ops for each node. Ops that compute are made in
//! `layers`, ops that move elements in `moves`.

use std::collections::HashSet;

use super::codes::{self, Codes, ROUNDING};
use super::flat::{Flat, Table as Options};
use super::schema::{Builtin, FileTensor, Kind, Node, Subgraph};
use crate::error::{Result, refuse, require};
use crate::network::{Network, Port, Problem, axis_of, refuse_all};
use crate::numeric::DType;
use crate::ops::{Dequantize, Op, Padding, Requantization, Transpose};
use crate::plan::{Graph, Value};
use crate::tensor::{Granularity, Quantization, Tensor, TensorType};

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
    pub(super) fn dims(&self) -> Result<Vec<usize>> {
        let dims = self.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<Vec<_>>>();
        match dims {
            Some(dims) => Ok(dims),
            None => refuse!("{self} has an unknown dimension: convert the network with fixed shapes"),
        }
    }

    pub(super) fn dtype(&self) -> Result<DType> {
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
    pub(super) fn tensor_type(&self) -> Result<TensorType> {
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
pub(super) fn codes_of(tensor_type: &TensorType) -> Result<Codes> {
    let one = tensor_type.quantization().filter(|q| q.granularity() == Granularity::Tensor);
    let Some(quantization) = one else {
        refuse!("{tensor_type} has {}, but a quantized network has one scale for it", tensor_type.describe_scales());
    };
    Ok(Codes::new(tensor_type.dtype(), quantization.scale(0), quantization.zero_point(0)))
}

/// A requantization to the codes of an output, clamped by a fused activation.
pub(super) fn requantization(output: &TensorType, activation: i8) -> Result<Requantization> {
    let codes = codes_of(output)?;
    let (low, high) = codes::activation(activation)?;
    let (low, high) = codes.between(low, high);
    Requantization::new(output.dtype(), codes.scale, codes.zero_point)?.rounding(ROUNDING).clamp(low, high)
}

/// SAME or VALID.
pub(super) fn padding(number: i8) -> Result<Padding> {
    Ok(match number {
        0 => Padding::SameUpper,
        1 => Padding::None,
        number => refuse!("its padding has number {number}, but SAME and VALID are read"),
    })
}

pub(super) fn sizes(values: [i32; 2]) -> Result<Vec<usize>> {
    let sizes = values.map(usize::try_from);
    match sizes {
        [Ok(height), Ok(width)] => Ok(vec![height, width]),
        _ => refuse!("a stride, dilation or kernel is {values:?}, but it can't be negative"),
    }
}

/// The graph as far as it is made.
pub(super) struct Builder<'a> {
    pub(super) bytes: &'a [u8],
    subgraph: &'a Subgraph,
    pub(super) graph: Graph,
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
    pub(super) fn tensor(&self, index: i32) -> Result<&'a FileTensor> {
        match usize::try_from(index).ok().and_then(|index| self.subgraph.tensors.get(index)) {
            Some(tensor) => Ok(tensor),
            None => refuse!("an input is left out"),
        }
    }

    pub(super) fn input(&self, node: &Node, place: usize) -> Result<&'a FileTensor> {
        self.tensor(node.inputs.get(place).copied().unwrap_or(-1))
    }

    pub(super) fn output(&self, node: &Node) -> Result<&'a FileTensor> {
        let Some(&index) = node.outputs.first() else { refuse!("it has no output") };
        self.tensor(index)
    }

    /// The value of an input that is no option of the op.
    pub(super) fn operand(&mut self, node: &Node, place: usize) -> Result<(Value, TensorType)> {
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
    pub(super) fn constant(&mut self, tensor: &FileTensor) -> Result<Tensor> {
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

    pub(super) fn spend(&mut self, bytes: usize) -> Result<()> {
        let Some(left) = self.budget.checked_sub(bytes) else {
            refuse!("the constants of the file are more than {SHARED} times its {} bytes", self.bytes.len());
        };
        self.budget = left;
        Ok(())
    }

    /// The numbers of an input that says a shape, an axis or indices.
    pub(super) fn numbers(&mut self, node: &Node, place: usize) -> Result<Vec<i64>> {
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
    pub(super) fn weights(&mut self, node: &Node, place: usize) -> Result<Tensor> {
        let tensor = self.input(node, place)?;
        let narrow = matches!(tensor.kind, Kind::INT8 | Kind::UINT8 | Kind::INT4);
        require!(narrow, "its weights are {tensor}, but int8, uint8 and int4 are read");
        self.constant(tensor)
    }

    pub(super) fn add(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Value> {
        self.graph.add(op, inputs)
    }

    /// The elements of a value under other dimensions.
    pub(super) fn reshaped(&mut self, value: Value, dims: &[usize]) -> Result<Value> {
        self.graph.reshape_or_move(value, dims)
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
}

/// The 64-bit integers of bytes.
pub(super) fn integers(data: &[u8]) -> impl Iterator<Item = i64> {
    data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes))
}
