//! Nodes of an ONNX graph to ops. `layout` keeps the order of axes. `moves` has the nodes that move elements, `codes` those that compute
//! with codes, `dynamic` those whose scales are found at run time, `reductions` reductions and pools of numbers, `composed` those that
//! are a few ops, and `floats` the rest. `windows` and `resize` read the geometry of nodes.

mod codes;
mod composed;
mod dynamic;
mod floats;
mod layout;
mod moves;
mod reductions;
mod resize;
mod windows;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::array::{Array, Data, Element, dims_of};
use super::fold::fold;
use super::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use super::{Arithmetic, Options};
use crate::error::{Error, Result, refuse, require};
use crate::network::axis_of;
use crate::network::{Network, Port, Problem, refuse_all};
use crate::numeric::DType;
use crate::ops::{Dequantize, Quantize, Requantization};
use crate::plan::{Extent, Graph, Value as GraphValue};
use crate::tensor::{Granularity, Quantization, Tensor, TensorType};
use dynamic::Dynamic;
use layout::{Operand, Placed};

/// A value of the ONNX graph.
#[derive(Debug, Clone)]
enum Value {
    /// Known before the graph runs.
    Known(Array),
    /// Computed by the graph.
    Placed(Placed),
    /// Numbers that codes stand for. They are only computed where an op needs them.
    Dequantized(Codes),
    /// A part of a dynamic quantization.
    Dynamic(Dynamic),
    /// A value that a node can't make, for a reason that was told.
    Missing,
}

/// Codes with scales.
#[derive(Debug, Clone)]
enum Codes {
    Known(Arc<Tensor>),
    Placed(Placed),
}

impl Codes {
    fn operand(self) -> Operand {
        match self {
            Self::Known(tensor) => Operand::Known(Array::codes((*tensor).clone())),
            Self::Placed(placed) => Operand::Placed(placed),
        }
    }
}

/// The making of a graph.
pub(super) struct Lowering<'a> {
    nodes: &'a [NodeProto],
    options: &'a Options,
    opset: i64,
    folder: Option<&'a Path>,
    graph: Graph,
    initializers: HashMap<&'a str, &'a TensorProto>,
    values: HashMap<String, Value>,
    /// The nodes that read each value.
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
    /// The nodes that are part of an op of one before them.
    done: HashSet<usize>,
    /// Values that were moved to other orders of axes.
    arranged: HashMap<(GraphValue, Vec<usize>, Vec<usize>), GraphValue>,
    /// The numbers of codes that were dequantized.
    reals: HashMap<GraphValue, GraphValue>,
    /// The extents of dimensions, by name.
    extents: HashMap<String, Extent>,
    /// Known values that differ at other extents of the graph.
    of_extent: HashSet<String>,
    problems: Vec<Problem>,
    /// False in a graph that computes a constant.
    folds: bool,
    /// The elements of constants that may still be computed.
    budget: usize,
}

/// The elements of constants that are computed while a graph is made, in all.
const MOST_KNOWN: usize = 1 << 27;

/// The elements of the inputs of a node beyond which the graph computes it, though they are known.
const MOST_FOLDED: usize = 1 << 20;

impl<'a> Lowering<'a> {
    pub(super) fn new(proto: &'a GraphProto, opset: i64, folder: Option<&'a Path>, options: &'a Options) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, node) in proto.node.iter().enumerate() {
            for name in &node.input {
                readers.entry(name).or_default().push(i);
            }
        }
        Self {
            initializers: proto.initializer.iter().map(|tensor| (&*tensor.name, tensor)).collect(),
            readers,
            outputs: proto.output.iter().map(|output| &*output.name).collect(),
            folder,
            folds: true,
            ..Self::empty(&proto.node, opset, options)
        }
    }

    /// The making of a graph of nodes that know no values and fold none.
    fn empty(nodes: &'a [NodeProto], opset: i64, options: &'a Options) -> Self {
        Self {
            nodes,
            options,
            opset,
            folder: None,
            graph: Graph::new(),
            initializers: HashMap::new(),
            values: HashMap::new(),
            readers: HashMap::new(),
            outputs: HashSet::new(),
            done: HashSet::new(),
            arranged: HashMap::new(),
            reals: HashMap::new(),
            extents: HashMap::new(),
            of_extent: HashSet::new(),
            problems: Vec::new(),
            folds: false,
            budget: MOST_KNOWN,
        }
    }

    /// The graph of all nodes.
    pub(super) fn run(mut self, proto: &'a GraphProto) -> Result<Network> {
        let mut inputs = Vec::new();
        for input in &proto.input {
            if self.initializers.contains_key(&*input.name) {
                continue;
            }
            if let Some(value) = self.options.values.get(&input.name) {
                let element = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).map_or(0, |t| t.elem_type);
                let array = match Element::of(element)? {
                    Element::Bool | Element::Int32 | Element::Int64 => {
                        let values = value.codes()?.into_iter().map(i64::from).collect();
                        Array::integers(value.dims(), values)
                    }
                    _ => Array::of_tensor(value.clone())?,
                };
                self.values.insert(input.name.clone(), Value::Known(array));
                continue;
            }
            let (tensor_type, following) = self.input_type(input)?;
            let value = match following.is_empty() {
                false => self.graph.dynamic_input(tensor_type.clone(), following)?,
                true => self.graph.input(tensor_type.clone()),
            };
            self.graph.name(value, &*input.name)?;
            inputs.push(Port::new(&input.name, tensor_type));
            let placed = self.plain(value);
            self.values.insert(input.name.clone(), Value::Placed(placed));
        }
        let mut made: HashSet<&str> = self.values.keys().map(String::as_str).collect();
        for name in self.nodes.iter().flat_map(NodeProto::output_names) {
            require!(made.insert(name) && !self.initializers.contains_key(name), "the value {name} is made twice");
        }
        drop(made);
        // Constants may stand anywhere.
        for (i, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.op() == "Constant") {
            if let (Ok(array), Some(name)) = (constant(node), node.output_names().next()) {
                self.values.insert(name.into(), Value::Known(array));
                self.done.insert(i);
            }
        }
        for (i, node) in self.nodes.iter().enumerate() {
            if self.done.contains(&i) {
                continue;
            }
            let misses = node.input.iter().any(|name| matches!(self.values.get(name), Some(Value::Missing)));
            let made = match misses {
                // A node after one that can't be an op is only told of if it can't be one itself.
                true => known_op(node).map(|()| vec![Value::Missing; node.output.len()]),
                false => self.node(node),
            };
            match made {
                Ok(made) => node.output.iter().zip(made).for_each(|(name, value)| {
                    self.values.insert(name.clone(), value);
                }),
                Err(error) => {
                    let problem = self.problem(i, node, &error);
                    self.problems.push(problem);
                    node.output.iter().for_each(|name| {
                        self.values.insert(name.clone(), Value::Missing);
                    });
                }
            }
        }
        refuse_all("ONNX graph", &self.problems)?;
        let mut outputs = Vec::new();
        for output in &proto.output {
            let value = self.value_named(&output.name)?;
            let value = self.external(&value)?;
            self.graph.name(value, &*output.name)?;
            self.graph.output(value);
            outputs.push(Port::new(&output.name, self.type_of(value).clone()));
        }
        if self.options.inner_values {
            for name in self.nodes.iter().flat_map(NodeProto::output_names) {
                if let Some(Value::Placed(placed)) = self.values.get(name).cloned() {
                    let value = self.in_rows(&placed)?;
                    self.graph.output(value);
                    outputs.push(Port::new(name, self.type_of(value).clone()));
                }
            }
        }
        Ok(Network { graph: self.graph, inputs, outputs })
    }

    /// The type of an input of the ONNX graph, and the dimensions that follow extents.
    fn input_type(&mut self, input: &ValueInfoProto) -> Result<(TensorType, Vec<(usize, Extent)>)> {
        let of_input = |reason: String| Error::Request(format!("the input {}: {reason}", input.name));
        let Some(tensor) = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
            return Err(of_input("it is no tensor".into()));
        };
        let dtype = Element::of(tensor.elem_type).and_then(Element::dtype).map_err(|e| of_input(e.to_string()))?;
        if let Some(dims) = self.options.shapes.get(&input.name) {
            return Ok((TensorType::new(dtype, dims.clone())?, vec![]));
        }
        let Some(shape) = &tensor.shape else {
            return Err(of_input("it has no shape: give it with Options::with_shape".into()));
        };
        let (mut dims, mut following) = (Vec::new(), Vec::new());
        for (axis, dim) in shape.dim.iter().enumerate() {
            let name = dim.dim_param.as_deref().filter(|name| dim.dim_value.is_none() && !name.is_empty());
            dims.push(match (dim.dim_value, name) {
                (Some(value), _) if value >= 0 => value as usize,
                (_, Some(name)) if self.options.extents.contains_key(name) => {
                    let most = self.options.extents[name];
                    following.push((axis, self.extent(name, most)?));
                    most
                }
                (_, Some(name)) if self.options.dimensions.contains_key(name) => self.options.dimensions[name],
                (_, Some(name)) => {
                    return Err(of_input(format!(
                        "its dimension {axis} is {name}: give it with Options::with_dimension, or the most of it with \
                         Options::with_extent, or all with Options::with_shape"
                    )));
                }
                _ => return Err(of_input(format!("its dimension {axis} is open: give all with Options::with_shape"))),
            });
        }
        Ok((TensorType::new(dtype, dims)?, following))
    }

    /// The extent of dimensions of this name.
    fn extent(&mut self, name: &str, most: usize) -> Result<Extent> {
        if let Some(&extent) = self.extents.get(name) {
            return Ok(extent);
        }
        let extent = self.graph.extent(name, most)?;
        self.extents.insert(name.to_string(), extent);
        Ok(extent)
    }

    fn problem(&self, index: usize, node: &NodeProto, error: &Error) -> Problem {
        let describe = |name: &String| match self.values.get(name) {
            Some(Value::Known(array)) => format!("constant {:?}", array.dims),
            Some(Value::Placed(placed)) => format!("{}{:?}", self.type_of(placed.value).dtype(), self.dims(placed)),
            Some(Value::Dequantized(Codes::Placed(placed))) => {
                format!("numbers of {}{:?}", self.type_of(placed.value).dtype(), self.dims(placed))
            }
            Some(Value::Dequantized(Codes::Known(tensor))) => format!("numbers of constant {}", tensor.tensor_type()),
            Some(Value::Dynamic(_)) => "of a dynamic quantization".into(),
            _ if name.is_empty() => "none".into(),
            _ => "not known".into(),
        };
        let place = || format!("node {index}");
        Problem {
            node: if node.name.is_empty() { place() } else { node.name.clone() },
            op: node.op(),
            types: node.input.iter().map(describe).collect(),
            reason: error.to_string(),
        }
    }

    /// The values of a node's outputs.
    fn node(&mut self, node: &NodeProto) -> Result<Vec<Value>> {
        let op = node.op();
        if op == "Constant" {
            return Ok(vec![Value::Known(constant(node)?)]);
        }
        let of_extent = self.reads_extent(node);
        if let Some(values) = self.known_outputs(node)? {
            if of_extent.is_some() {
                self.of_extent.extend(node.output.iter().cloned());
            }
            return Ok(values);
        }
        if let Some((name, index)) = of_extent {
            // A graph checks that dimensions stay in proportion.
            require!(
                op == "Reshape" && index == 1,
                "its input {name} differs at other extents, which only a Reshape can follow: give the dimension with \
                 Options::with_dimension"
            );
        }
        match &*op {
            "DequantizeLinear" | "com.microsoft.DequantizeLinear" => return Ok(vec![self.dequantize(node)?]),
            "QuantizeLinear" | "com.microsoft.QuantizeLinear" => return Ok(vec![self.quantize(node)?]),
            "Shape" => {
                let value = self.value(node, 0)?;
                let dims = self.dims_of_value(&value)?;
                let (start, end) = (node.int("start", 0), node.int("end", dims.len() as i64));
                let (begin, sizes, _) = super::shape::slice(&[dims.len()], &[start], &[end], None, None)?;
                let is_dynamic = match &value {
                    Value::Placed(x) | Value::Dequantized(Codes::Placed(x)) => {
                        let part = begin[0]..begin[0] + sizes[0];
                        x.order
                            .iter()
                            .enumerate()
                            .any(|(at, axis)| part.contains(axis) && self.graph.is_open(x.value, at))
                    }
                    _ => false,
                };
                if is_dynamic {
                    self.of_extent.extend(node.output.iter().cloned());
                }
                let part = dims[begin[0]..begin[0] + sizes[0]].iter().map(|&d| d as i64).collect::<Vec<_>>();
                return Ok(vec![Value::Known(Array::integers([part.len()], part))]);
            }
            _ => known_op(node)?,
        }
        if let Some(values) = self.dynamic(node)? {
            return Ok(values);
        }
        if let Some((values, quantize)) = self.codes(node)? {
            if let Some(quantize) = quantize {
                // The op makes the codes of the quantization after it.
                self.done.extend(quantize.nodes);
                self.values.insert(quantize.output, values[0].clone());
                return Ok(vec![Value::Missing]);
            }
            return Ok(values);
        }
        if let Some(values) = self.moved(node)? {
            return Ok(values);
        }
        if let Some(values) = self.reductions(node)? {
            return Ok(values);
        }
        if let Some(values) = self.composed(node)? {
            return Ok(values);
        }
        self.floats(node)
    }

    /// The first input that differs at other extents, and its place.
    fn reads_extent(&self, node: &NodeProto) -> Option<(String, usize)> {
        let index = node.input.iter().position(|name| self.of_extent.contains(name))?;
        Some((node.input[index].clone(), index))
    }

    /// The outputs of a node that moves elements, of numbers, raw codes or codes of numbers.
    fn moved(&mut self, node: &NodeProto) -> Result<Option<Vec<Value>>> {
        let placed = |moved: Vec<Placed>| moved.into_iter().map(Value::Placed).collect();
        let one_scale = |tensor_type: &TensorType| {
            tensor_type.quantization().is_none_or(|q| q.granularity() == Granularity::Tensor)
        };
        match self.value(node, 0)? {
            Value::Known(array) if !self.folds => {
                let x = self.real(&Value::Known(array))?;
                Ok(self.moves(node, &x, true)?.map(placed))
            }
            Value::Placed(mut x) => {
                if !one_scale(self.type_of(x.value)) {
                    // What reads raw codes says their scales.
                    x.value = self.graph.rescaled(x.value, Quantization::tensor(1.0, 0))?;
                }
                Ok(self.moves(node, &x, true)?.map(placed))
            }
            Value::Dequantized(Codes::Known(codes)) if node.op_type == "Transpose" => {
                let order = node.permutation(codes.dims().len())?;
                Ok(Some(vec![Value::Dequantized(Codes::Known(Arc::new(codes.permuted(&order)?)))]))
            }
            Value::Dequantized(codes) => {
                let x = self.place(&codes);
                let is_linear =
                    matches!(&*node.op_type, "Resize" | "Upsample") && node.text("mode", "nearest")? != "nearest";
                if !one_scale(self.type_of(x.value)) || (is_linear && !self.keeps_scale(node, &x)?) {
                    let x = self.real(&Value::Dequantized(Codes::Placed(x)))?;
                    return Ok(self.moves(node, &x, false)?.map(placed));
                }
                let moved = self.moves(node, &x, false)?;
                Ok(moved.map(|moved| moved.into_iter().map(|x| Value::Dequantized(Codes::Placed(x))).collect()))
            }
            _ => Ok(None),
        }
    }

    /// True if a quantization is the only reader of a node, to the scale that its input has.
    fn keeps_scale(&mut self, node: &NodeProto, x: &Placed) -> Result<bool> {
        let Some((_, output)) = self.quantization_after(node)? else { return Ok(false) };
        let input = self.type_of(x.value);
        let same = Quantization::tensor(output.scale(), output.zero_point());
        let whole = output.dtype().range() == Some(output.bounds());
        Ok(whole && input.dtype() == output.dtype() && input.quantization() == Some(&same))
    }

    /// The outputs of a node whose inputs are all known.
    fn known_outputs(&mut self, node: &NodeProto) -> Result<Option<Vec<Value>>> {
        if !self.folds || node.input.is_empty() || node.op_type == "DequantizeLinear" {
            return Ok(None);
        }
        let mut inputs = Vec::new();
        for (i, name) in node.input.iter().enumerate() {
            inputs.push(match name.is_empty() {
                true => None,
                false => match self.value(node, i)? {
                    Value::Known(array) => Some(array),
                    _ => return Ok(None),
                },
            });
        }
        let own = matches!(&*node.domain, "" | "ai.onnx");
        if let Some(arrays) = if own { fold(node, &inputs)? } else { None } {
            let elements = arrays.iter().map(Array::elements).sum();
            self.spend(elements)?;
            return Ok(Some(arrays.into_iter().map(Value::Known).collect()));
        }
        known_op(node)?;
        let elements: usize = inputs.iter().flatten().map(Array::elements).sum();
        if elements > MOST_FOLDED {
            return Ok(None);
        }
        self.spend(elements)?;
        // The reference computes it.
        let mut alone = Lowering::empty(std::slice::from_ref(node), self.opset, self.options);
        for (name, array) in node.input.iter().zip(inputs) {
            if let Some(array) = array {
                alone.values.insert(name.clone(), Value::Known(array));
            }
        }
        for value in alone.node(node)? {
            let value = alone.external(&value)?;
            alone.graph.output(value);
        }
        let made = alone.graph.run_reference(&[])?;
        Ok(Some(made.into_iter().map(|tensor| Ok(Value::Known(Array::of_tensor(tensor)?))).collect::<Result<_>>()?))
    }

    /// Takes elements of constants from the budget.
    fn spend(&mut self, elements: usize) -> Result<()> {
        let left = self.budget.checked_sub(elements);
        require!(
            left.is_some(),
            "the constants of the graph have too many elements to compute them: {MOST_KNOWN} at most"
        );
        self.budget = left.unwrap_or(0);
        Ok(())
    }

    /// The value of an input.
    fn value(&mut self, node: &NodeProto, index: usize) -> Result<Value> {
        match node.input_name(index) {
            Some(name) => self.value_named(name),
            None => Err(Error::Request(format!("input {index} is missing"))),
        }
    }

    fn value_named(&mut self, name: &str) -> Result<Value> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        let Some(tensor) = self.initializers.get(name) else {
            refuse!("no node and no initializer makes {name:?}");
        };
        let array = Array::read(tensor, self.folder)
            .map_err(|error| Error::Request(format!("the initializer {name}: {error}")))?;
        self.values.insert(name.into(), Value::Known(array.clone()));
        Ok(Value::Known(array))
    }

    /// An input that must be known before the graph runs.
    fn known(&mut self, node: &NodeProto, index: usize, what: &str) -> Result<Array> {
        match self.value(node, index)? {
            Value::Known(array) => Ok(array),
            Value::Dequantized(Codes::Known(codes)) => Array::of_tensor(codes.dequantize()?),
            _ => Err(Error::Request(format!(
                "its {what} (input {index}) is computed when the graph runs, but must be known before"
            ))),
        }
    }

    /// An input that may be left out.
    fn optional(&mut self, node: &NodeProto, index: usize) -> Result<Option<Array>> {
        node.input_name(index).is_some().then(|| self.known(node, index, "operand")).transpose()
    }

    /// Integers that were an attribute in older opsets, and are an input that must be known in newer ones.
    fn list(&mut self, node: &NodeProto, index: usize, name: &str) -> Result<Option<Vec<i64>>> {
        match node.ints(name) {
            Some(list) => Ok(Some(list.to_vec())),
            None => self.optional(node, index)?.map(|list| list.as_integers()).transpose(),
        }
    }

    fn dims_of_value(&self, value: &Value) -> Result<Vec<usize>> {
        Ok(match value {
            Value::Known(array) => array.dims.clone(),
            Value::Placed(placed) | Value::Dequantized(Codes::Placed(placed)) => self.dims(placed),
            Value::Dequantized(Codes::Known(tensor)) => tensor.dims().to_vec(),
            Value::Dynamic(_) | Value::Missing => refuse!("the shape is not known"),
        })
    }

    /// A value as numbers, or integers, in the graph.
    fn operand(&mut self, value: &Value) -> Result<Operand> {
        Ok(match value {
            Value::Known(array) => Operand::Known(array.clone()),
            other => Operand::Placed(self.real(other)?),
        })
    }

    /// A value as a tensor of the graph: numbers of codes are dequantized.
    fn real(&mut self, value: &Value) -> Result<Placed> {
        match value {
            Value::Known(array) => {
                let value = self.graph.constant(array.tensor()?);
                Ok(self.plain(value))
            }
            Value::Placed(placed) => Ok(placed.clone()),
            Value::Dequantized(codes) => {
                let placed = self.place(codes);
                let value = match self.reals.get(&placed.value) {
                    Some(&value) => value,
                    None => {
                        let op = Dequantize::new(self.type_of(placed.value).clone()).build()?;
                        let value = self.graph.add(op, &[placed.value])?;
                        self.reals.insert(placed.value, value);
                        value
                    }
                };
                Ok(Placed { value, ..placed })
            }
            Value::Dynamic(dynamic) => self.dynamic_real(dynamic),
            Value::Missing => Err(Error::Request("an input is part of another op".into())),
        }
    }

    fn place(&mut self, codes: &Codes) -> Placed {
        match codes {
            Codes::Placed(placed) => placed.clone(),
            Codes::Known(tensor) => {
                let value = self.graph.constant(tensor.clone());
                self.plain(value)
            }
        }
    }

    /// A value in ONNX's order of axes, for an output.
    fn external(&mut self, value: &Value) -> Result<GraphValue> {
        let placed = self.real(value)?;
        self.in_rows(&placed)
    }

    /// The scales and zero points of inputs of a quantization, and the data type of its codes, uint8 by default.
    fn quantization(
        &mut self,
        node: &NodeProto,
        scale: usize,
        dims: &[usize],
    ) -> Result<(Quantization, Option<DType>)> {
        let scales = self.known(node, scale, "scale")?;
        let zero_points = self.optional(node, scale + 1)?;
        quantization(node, &scales, zero_points.as_ref(), dims)
    }

    fn dequantize(&mut self, node: &NodeProto) -> Result<Value> {
        let value = self.value(node, 0)?;
        let dims = self.dims_of_value(&value)?;
        let (quantization, _) = self.quantization(node, 1, &dims)?;
        match value {
            Value::Known(array) => {
                let codes = match &array.data {
                    Data::Integers(_) => (*array.tensor()?).clone(),
                    _ => (**array.as_codes()?).clone(),
                };
                Ok(Value::Dequantized(Codes::Known(Arc::new(codes.quantized(quantization)?))))
            }
            Value::Placed(mut placed) => {
                if matches!(quantization.granularity(), Granularity::Blocks { .. }) {
                    let value = self.in_rows(&placed)?;
                    placed = self.plain(value);
                }
                let placed = self.rescaled(&placed, quantization)?;
                Ok(Value::Dequantized(Codes::Placed(placed)))
            }
            _ => Err(Error::Request("its input holds numbers, not codes".into())),
        }
    }

    /// Codes under these scales, which are along an axis of ONNX.
    fn rescaled(&mut self, placed: &Placed, quantization: Quantization) -> Result<Placed> {
        let quantization = in_order(quantization, placed);
        let value = match self.type_of(placed.value).quantization() == Some(&quantization) {
            true => placed.value,
            false => self.graph.rescaled(placed.value, quantization)?,
        };
        Ok(Placed { value, ..placed.clone() })
    }

    fn quantize(&mut self, node: &NodeProto) -> Result<Value> {
        let value = self.value(node, 0)?;
        let dims = self.dims_of_value(&value)?;
        let (quantization, dtype) = self.quantization(node, 1, &dims)?;
        let named = node.int("output_dtype", 0);
        let dtype = match (dtype, named) {
            (Some(dtype), _) => dtype,
            (None, 0) => DType::Uint8,
            (None, named) => Element::of(named as i32)?.dtype()?,
        };
        if let Value::Dequantized(Codes::Placed(placed)) = &value {
            let same = self.type_of(placed.value);
            if same.dtype() == dtype && same.quantization() == Some(&in_order(quantization.clone(), placed)) {
                return Ok(Value::Placed(placed.clone()));
            }
        }
        let mut placed = self.numbers_of(&value)?;
        if matches!(quantization.granularity(), Granularity::Blocks { .. }) {
            let value = self.in_rows(&placed)?;
            placed = self.plain(value);
        }
        let input = self.type_of(placed.value).clone();
        let codes = TensorType::new(dtype, input.dims())?.quantized(in_order(quantization, &placed))?;
        let op = Quantize::new(input, codes);
        let op = if node.int("saturate", 1) == 0 { op.non_saturating() } else { op };
        let value = self.graph.add(op.build()?, &[placed.value])?;
        Ok(Value::Placed(Placed { value, ..placed }))
    }

    /// The output stage of a node whose codes have one scale, from its inputs.
    fn requantization(&mut self, node: &NodeProto, scale: usize) -> Result<Requantization> {
        let (quantization, dtype) = self.quantization(node, scale, &[])?;
        Requantization::new(dtype.unwrap_or(DType::Uint8), quantization.scales()[0], quantization.zero_points()[0])
    }

    /// True if ops are to be as ONNX Runtime's optimizer makes them.
    fn is_optimized(&self) -> bool {
        self.options.arithmetic == Arithmetic::OnnxRuntime
    }
}

/// Refuses an op that has no counterpart.
fn known_op(node: &NodeProto) -> Result<()> {
    let op = node.op();
    if matches!(&*op, "If" | "Loop" | "Scan") {
        refuse!("its branches are graphs of their own, which have no op");
    }
    require!(super::OPS.contains(&&*op), "there is no op for {op}");
    Ok(())
}

/// The value of a `Constant`.
fn constant(node: &NodeProto) -> Result<Array> {
    if let Some(tensor) = node.tensor("value") {
        return Array::read(tensor, None);
    }
    if let Some(values) = node.ints("value_ints").filter(|values| !values.is_empty()) {
        return Ok(Array::integers([values.len()], values.to_vec()));
    }
    if let Some(values) = node.floats("value_floats").filter(|values| !values.is_empty()) {
        return Ok(Array::reals([values.len()], values.to_vec()));
    }
    if node.has("value_int") {
        return Ok(Array::integers([], vec![node.int("value_int", 0)]));
    }
    if node.has("value_float") {
        return Ok(Array::reals([], vec![node.float("value_float", 0.0)]));
    }
    Err(Error::Request("its value is no tensor of numbers".into()))
}

/// The scales and zero points of codes with these dimensions.
fn quantization(
    node: &NodeProto,
    scales: &Array,
    zero_points: Option<&Array>,
    dims: &[usize],
) -> Result<(Quantization, Option<DType>)> {
    let count = scales.elements();
    require!(count > 0, "its scales are empty");
    require!(zero_points.is_none_or(|zeros| zeros.elements() > 0), "its zero points are empty");
    let granularity = match scales.dims.len() {
        0 => Granularity::Tensor,
        1 if count == 1 => Granularity::Tensor,
        1 => Granularity::Axis(axis_of(node.int("axis", 1), dims.len())?),
        _ => {
            let axis = axis_of(node.int("axis", 1), dims.len())?;
            let size = usize::try_from(node.int("block_size", 0)).unwrap_or(0);
            require!(size > 0, "its scales are in blocks, but block_size is {size}");
            Granularity::Blocks { axis, size }
        }
    };
    let dtype = match zero_points.map(|array| &array.data) {
        Some(Data::Codes(tensor)) => Some(tensor.dtype()),
        Some(Data::Integers(_)) => Some(DType::Int32),
        _ => None,
    };
    let zeros = match zero_points {
        Some(array) => match &array.data {
            Data::Codes(tensor) if tensor.dtype().range().is_none() => vec![0; array.elements()],
            _ => array.as_integers()?.into_iter().map(|z| z as i32).collect(),
        },
        None => vec![0],
    };
    Ok((Quantization::new(granularity, scales.as_reals()?, zeros), dtype))
}

/// Scales along an axis of ONNX, for a value with its axes in another order.
fn in_order(quantization: Quantization, placed: &Placed) -> Quantization {
    match quantization.granularity() {
        Granularity::Axis(axis) => {
            Quantization::new(Granularity::Axis(placed.place(axis)), quantization.scales(), quantization.zero_points())
        }
        _ => quantization,
    }
}
