//! A graph of ops over named tensors, without any device. `schedule` fuses and orders its steps and places its tensors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::execute::{execute_for_results, read_as};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::ops::{Op, Reshape};
use crate::tensor::{Quantization, Tensor, TensorType};

/// A tensor of a [`Graph`]: an input, a constant, or the result of an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    index: usize,
    /// The id of its graph.
    graph: u64,
}

impl Value {
    pub(crate) fn index(self) -> usize {
        self.index
    }
}

/// One op of a graph with its tensors.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub op: Arc<Op>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
}

/// One or more steps of a graph that run as one.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    pub step: Step,
    /// The names of the ops in it, in order.
    pub parts: Vec<&'static str>,
}

impl Merged {
    /// A step by itself.
    pub(super) fn of(step: &Step) -> Self {
        Self { step: step.clone(), parts: vec![step.op.name()] }
    }
}

/// Ops over inputs and intermediate tensors, checked as they are added.
///
/// # A batch or sequence of any length
///
/// The first dimension of an input that is declared with [`Graph::dynamic_input`] is its largest. A tensor that is bound to a plan
/// may have any smaller one, and values that are computed from it follow. All these inputs share one *extent*: their first
/// dimensions are multiples of the first dynamic input's.
///
/// ```
/// use lowbit::{DType, Graph, Quantization, Tensor, TensorType, ops::{Matmul, Quantize, Output}};
/// let codes = TensorType::new(DType::Uint8, [1, 4])?.quantized(Quantization::tensor(0.5, 10))?;
/// let weights = Tensor::new([4, 2], vec![1i8; 8])?.quantized(Quantization::tensor(0.25, 0))?;
///
/// let mut graph = Graph::new();
/// let x = graph.input(TensorType::new(DType::Float32, [1, 4])?);
/// let x = graph.add(Quantize::new(graph.tensor_type(x)?.clone(), codes.clone()).build()?, &[x])?;
/// let y = graph.add(Matmul::new(codes, weights).output(Output::real()).build()?, &[x])?;
/// graph.output(y);
///
/// let x = Tensor::new([1, 4], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(graph.run_reference(&[&x])?[0].values::<f32>()?, [2.5, 2.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Graph {
    /// Shared with clones only: values made before cloning are valid in both.
    id: u64,
    types: Vec<TensorType>,
    names: Vec<Option<Arc<str>>>,
    /// The largest extent, once there is a dynamic input.
    extent: Option<usize>,
    /// True if the first dimension of the value is a multiple of the extent.
    follows: Vec<bool>,
    /// The value whose elements a reshaped value shares.
    aliases: Vec<Option<Value>>,
    /// The state whose later contents a value is.
    homes: Vec<Option<Value>>,
    /// The inputs that ops change, each with its contents after all ops so far.
    states: Vec<(Value, Value)>,
    /// The values that are known when the graph is made.
    constants: Vec<(Value, Arc<Tensor>)>,
    steps: Vec<Step>,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

impl Default for Graph {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            types: vec![],
            names: vec![],
            extent: None,
            follows: vec![],
            aliases: vec![],
            homes: vec![],
            states: vec![],
            constants: vec![],
            steps: vec![],
            inputs: vec![],
            outputs: vec![],
        }
    }
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The graph of one op: its inputs and outputs are the op's, in order.
    ///
    /// ```
    /// use lowbit::{Graph, Tensor, ops::Matmul};
    /// let lhs = Tensor::new([1, 2], vec![1i8, 2])?;
    /// let op = Matmul::new(lhs.tensor_type().clone(), Tensor::new([2, 1], vec![3i8, 4])?).build()?;
    /// assert_eq!(Graph::of(op)?.run_reference(&[&lhs])?[0].values::<i32>()?, [11]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Graph::add`]; the op's own inputs always fit.
    pub fn of(op: impl Into<Op>) -> Result<Self> {
        let op = op.into();
        let mut graph = Self::new();
        let inputs: Vec<Value> = op.inputs().into_iter().map(|t| graph.input(t)).collect();
        for output in graph.add_all(op, &inputs)? {
            graph.output(output);
        }
        Ok(graph)
    }

    fn value(&mut self, tensor_type: TensorType, follows: bool, alias: Option<Value>) -> Value {
        self.types.push(tensor_type);
        self.names.push(None);
        self.follows.push(follows);
        self.aliases.push(alias);
        self.homes.push(None);
        Value { index: self.types.len() - 1, graph: self.id }
    }

    /// Declares the next input.
    pub fn input(&mut self, tensor_type: TensorType) -> Value {
        let value = self.value(tensor_type, false, None);
        self.inputs.push(value);
        value
    }

    /// Declares the next input. Its first dimension may be any up to that of the type.
    ///
    /// ```
    /// use lowbit::{DType, Graph, Quantization, TensorType, ops::Quantize};
    /// let mut graph = Graph::new();
    /// let tokens = graph.dynamic_input(TensorType::new(DType::Float32, [512, 64])?)?; // up to 512 tokens
    /// let codes = TensorType::new(DType::Int8, [512, 64])?.quantized(Quantization::tensor(0.1, 0))?;
    /// let codes = graph.add(Quantize::new(graph.tensor_type(tokens)?.clone(), codes).build()?, &[tokens])?;
    /// graph.output(codes);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the type has no dimension, has scales along its first one, or its first dimension is no multiple of the graph's extent.
    pub fn dynamic_input(&mut self, tensor_type: TensorType) -> Result<Value> {
        tensor_type.with_extent(0)?;
        let first = tensor_type.dims()[0];
        let extent = self.extent.unwrap_or(first);
        require!(
            extent > 0 && first > 0 && first.is_multiple_of(extent),
            "the first dimension of the dynamic input {tensor_type} is {first}, but the graph's extent is {extent}: make it a \
             multiple of that, and at least 1"
        );
        self.extent = Some(extent);
        let value = self.value(tensor_type, true, None);
        self.inputs.push(value);
        Ok(value)
    }

    /// Declares the next input as a state: a tensor that lives on between runs, in one buffer, which ops of the graph change in
    /// place. [`Append`](crate::ops::Append) is such an op. Its output stands for the new contents; the value before it can't be
    /// read by ops that are added later.
    ///
    /// [`Plan::bind`](crate::Plan::bind) takes the tensor among the inputs, and recordings change it each time. Calls on tensors of
    /// the host ([`Graph::run_reference`], [`Plan::run`](crate::Plan::run)) leave their inputs alone, and return the new contents
    /// of all states, in order of declaration, after the outputs.
    ///
    /// ```
    /// use lowbit::{DType, Graph, Tensor, TensorType, ops::Append};
    /// let mut graph = Graph::new();
    /// let rows = graph.input(TensorType::float32([1, 2])?);
    /// let position = graph.input(TensorType::new(DType::Int32, [1])?);
    /// let cache = graph.state(TensorType::float32([3, 2])?);
    /// let append = Append::new(graph.tensor_type(cache)?.clone(), graph.tensor_type(rows)?.clone())?;
    /// graph.add(append, &[cache, rows, position])?;
    ///
    /// let (rows, position) = (Tensor::new([1, 2], vec![5.0f32, 6.0])?, Tensor::new([1], vec![1i32])?);
    /// let cache = Tensor::new([3, 2], vec![0.0f32; 6])?;
    /// let states = graph.run_reference(&[&rows, &position, &cache])?;
    /// assert_eq!(states[0].values::<f32>()?, [0.0, 0.0, 5.0, 6.0, 0.0, 0.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn state(&mut self, tensor_type: TensorType) -> Value {
        let value = self.input(tensor_type);
        self.states.push((value, value));
        value
    }

    /// A value that is known now. A plan uploads it once, and shares the buffer with plans that have the same `Arc`.
    ///
    /// An elementwise op on 8-bit codes and constants of one element becomes a [`Table`](crate::ops::Table) when the graph is planned.
    ///
    /// ```
    /// use lowbit::{Graph, Tensor, TensorType, ops::{Arithmetic, FloatBinary}};
    /// let mut graph = Graph::new();
    /// let x = graph.input(TensorType::float32([2, 2])?);
    /// let factors = graph.constant(Tensor::new([2], vec![10.0f32, 100.0])?);
    /// let product = FloatBinary::new(graph.tensor_type(x)?.clone(), graph.tensor_type(factors)?.clone(), Arithmetic::Multiply)?;
    /// let y = graph.add(product, &[x, factors])?;
    /// graph.output(y);
    /// let x = Tensor::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?;
    /// assert_eq!(graph.run_reference(&[&x])?[0].values::<f32>()?, [10.0, 200.0, 30.0, 400.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn constant(&mut self, tensor: impl Into<Arc<Tensor>>) -> Value {
        let tensor = tensor.into();
        let value = self.value(tensor.tensor_type().clone(), false, None);
        self.constants.push((value, tensor));
        value
    }

    /// Gives a value a name, for messages and printed plans.
    ///
    /// # Errors
    /// If the value belongs to another graph.
    pub fn name(&mut self, value: Value, name: impl Into<Arc<str>>) -> Result<()> {
        self.check(value)?;
        self.names[value.index] = Some(name.into());
        Ok(())
    }

    /// Adds an op and returns its first output, which is mostly its only one.
    ///
    /// # Errors
    /// If the number of inputs, or their formats, shapes or scales, are not those that the op was made for.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Value> {
        Ok(self.add_all(op, inputs)?[0])
    }

    /// Adds an op and returns all its outputs.
    ///
    /// # Errors
    /// As for [`Graph::add`].
    pub fn add_all(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Vec<Value>> {
        let op = op.into();
        inputs.iter().try_for_each(|&input| self.check(input).and_then(|()| self.check_latest(input)))?;
        op.check_inputs(inputs.iter().map(|v| &self.types[v.index]))?;
        op.check_scales(inputs.iter().map(|v| &self.types[v.index]))?;
        let states = self.overwritten(&op, inputs)?;
        let follows = self.follow(&op, inputs)?;
        let outputs = op.outputs().into_iter().zip(follows).map(|(t, follows)| self.value(t, follows, None));
        let outputs: Vec<Value> = outputs.collect();
        for (state, &output) in states.into_iter().zip(&outputs) {
            self.homes[output.index] = Some(state);
            self.states.iter_mut().filter(|(value, _)| *value == state).for_each(|(_, latest)| *latest = output);
        }
        self.steps.push(Step { op: Arc::new(op), inputs: inputs.to_vec(), outputs: outputs.clone() });
        Ok(outputs)
    }

    /// The states that an op changes, in the order of its outputs; empty if it changes none.
    fn overwritten(&self, op: &Op, inputs: &[Value]) -> Result<Vec<Value>> {
        let storages: Vec<Value> = op.overwrites().iter().map(|&input| self.storage(inputs[input])).collect();
        let (states, others): (Vec<Value>, Vec<Value>) = storages.iter().partition(|&&value| self.is_state(value));
        for &state in &states {
            let reads = inputs.iter().filter(|&&value| self.storage(value) == state).count();
            require!(reads == 1, "{} reads the state{} that it changes: copy it first", op.name(), self.label(state));
            require!(
                others.is_empty(),
                "{} changes the state{}, but another of its first {} inputs is no state: declare all of them with Graph::state, or none",
                op.name(),
                self.label(state),
                storages.len()
            );
        }
        Ok(states)
    }

    /// Refuses contents of a state that were overwritten.
    fn check_latest(&self, value: Value) -> Result<()> {
        let (state, contents) = (self.storage(value), self.source(value));
        require!(
            !self.states.iter().any(|&(of, latest)| of == state && latest != contents),
            "the state{} was changed by an op before: use the value that Graph::add returned for it",
            self.label(state)
        );
        Ok(())
    }

    /// The values that are known when the graph is made.
    pub(crate) fn constants(&self) -> &[(Value, Arc<Tensor>)] {
        &self.constants
    }

    /// The inputs that ops change, in order of declaration, each with its contents after all ops.
    pub(crate) fn states(&self) -> &[(Value, Value)] {
        &self.states
    }

    /// The places of the states among the inputs.
    pub(crate) fn state_inputs(&self) -> Vec<usize> {
        (0..self.inputs.len()).filter(|&input| self.is_state(self.inputs[input])).collect()
    }

    /// True if a value is a state, or a view of one.
    pub(crate) fn is_state(&self, value: Value) -> bool {
        let storage = self.storage(value);
        self.states.iter().any(|&(state, _)| state == storage)
    }

    /// Flags of the outputs of an op that follow the extent: their first dimension shrinks with it, in proportion.
    fn follow(&self, op: &Op, inputs: &[Value]) -> Result<Vec<bool>> {
        let outputs = op.outputs();
        let Some(extent) = self.extent.filter(|_| inputs.iter().any(|v| self.follows[v.index])) else {
            return Ok(vec![false; outputs.len()]);
        };
        let at = |to: usize| -> Result<Vec<TensorType>> {
            let inputs = inputs.iter().map(|&v| self.type_at(v, to)).collect::<Result<Vec<_>>>()?;
            Ok(op.with_inputs(&inputs)?.outputs())
        };
        let rows = op.least_rows();
        if rows > 0 {
            // The op takes that many rows, or more, and its output doesn't follow them.
            let of_one = |v: &Value| self.types[v.index].dims()[0] / extent;
            let of_one = inputs.iter().find(|v| self.follows[v.index]).map_or(1, of_one);
            let least = rows.div_ceil(of_one.max(1)).min(extent);
            require!(at(least)? == outputs, "{} makes another output of fewer rows", op.name());
            return Ok(vec![false; outputs.len()]);
        }
        let none = at(0)?;
        let most = &outputs;
        let follows = |(none, most): (&TensorType, &TensorType)| -> Result<bool> {
            if none == most {
                return Ok(false);
            }
            let proportional =
                none.dims()[1..] == most.dims()[1..] && none.dims()[0] == 0 && most.dims()[0].is_multiple_of(extent);
            require!(
                proportional,
                "{} makes {most} of an input whose first dimension is dynamic, but {none} where that is 0: the first \
                 dimension of its output must be in proportion",
                op.name()
            );
            Ok(true)
        };
        none.iter().zip(most).map(follows).collect()
    }

    /// The type of a value at another extent.
    pub(super) fn type_at(&self, value: Value, extent: usize) -> Result<TensorType> {
        let most = &self.types[value.index];
        match self.extent.filter(|_| self.follows[value.index]) {
            Some(largest) => most.with_extent(most.dims()[0] / largest * extent),
            None => Ok(most.clone()),
        }
    }

    /// True if the first dimension of a value is a multiple of the extent.
    pub(crate) fn follows(&self, value: Value) -> bool {
        self.follows[value.index]
    }

    /// The graph, with the same values, at a smaller extent. Constants are shared.
    pub(crate) fn at_extent(&self, extent: usize) -> Result<Self> {
        let mut graph = self.clone();
        if self.extent.is_none_or(|largest| largest == extent) {
            return Ok(graph);
        }
        for (index, tensor_type) in graph.types.iter_mut().enumerate() {
            *tensor_type = self.type_at(Value { index, graph: self.id }, extent)?;
        }
        for step in &mut graph.steps {
            let inputs: Vec<TensorType> = step.inputs.iter().map(|v| graph.types[v.index].clone()).collect();
            step.op = Arc::new(step.op.with_inputs(&inputs)?);
        }
        Ok(graph)
    }

    /// The graph at the extent of tensors of these types.
    pub(crate) fn for_inputs<'a>(&self, given: impl Iterator<Item = &'a TensorType>) -> Result<Self> {
        self.extent_of(given)?.map_or_else(|| Ok(self.clone()), |extent| self.at_extent(extent))
    }

    /// The types of the inputs at another extent.
    pub(crate) fn input_types_at(&self, extent: usize) -> Result<Vec<TensorType>> {
        self.inputs.iter().map(|&value| self.type_at(value, extent)).collect()
    }

    /// The types of the outputs at another extent.
    pub(crate) fn output_types_at(&self, extent: usize) -> Result<Vec<TensorType>> {
        self.outputs.iter().map(|&value| self.type_at(value, extent)).collect()
    }

    /// The common extent of tensors of these types, which are about to be the inputs; `None` in a graph without dynamic inputs.
    pub(crate) fn extent_of<'a>(&self, given: impl Iterator<Item = &'a TensorType>) -> Result<Option<usize>> {
        let Some(largest) = self.extent else { return Ok(None) };
        let mut found = None;
        for (i, (value, given)) in self.inputs.iter().zip(given).enumerate().filter(|(_, (v, _))| self.follows[v.index])
        {
            let most = &self.types[value.index];
            let (first, factor) = (given.dims().first().copied().unwrap_or(0), most.dims()[0] / largest);
            require!(
                first <= most.dims()[0] && first.is_multiple_of(factor),
                "input {i}{} is {given}, but its first dimension may be {factor} times an extent of 0 to {largest}",
                self.label(*value)
            );
            let extent = first / factor;
            require!(
                *found.get_or_insert(extent) == extent,
                "input {i}{} is {given}, an extent of {extent}, but another input has an extent of {}",
                self.label(*value),
                found.unwrap_or(0)
            );
        }
        Ok(found)
    }

    /// The elements of a value under other dimensions, without moving them.
    ///
    /// # Errors
    /// If the number of elements differs, or if rows of a packed format have padding and another length: then
    /// [`ops::Reshape`](crate::ops::Reshape) moves them. To flatten an image with padding before a fully connected layer, a
    /// [`Conv`](crate::ops::Conv) whose kernel is the whole image is faster.
    pub fn reshape(&mut self, value: Value, dims: impl Into<Vec<usize>>) -> Result<Value> {
        self.check(value)?;
        let old = &self.types[value.index];
        let new = old.reshaped(dims)?;
        let dense = |t: &TensorType| {
            t.dtype().row_words(t.shape().row_length()) * 32 == t.shape().row_length() * t.dtype().bits()
        };
        require!(
            old.shape().row_length() == new.shape().row_length() || (dense(old) && dense(&new)),
            "{old} can't become {new} in place: rows of {} codes are padded to 16 bytes, so the last dimension must stay \
             or fill them; ops::Reshape moves them; to flatten an image before a fully connected layer, a Conv whose kernel is the \
             whole image is faster",
            old.dtype()
        );
        let follows = self.follows[value.index];
        if let Some(extent) = self.extent.filter(|_| follows) {
            let rest = |t: &TensorType| t.dims().iter().skip(1).product::<usize>();
            let first = new.dims().first().copied().unwrap_or(0);
            require!(
                first.is_multiple_of(extent) && first / extent * rest(&new) == old.dims()[0] / extent * rest(old),
                "{old} has a dynamic first dimension, so that of {new} must be a multiple of {extent} too"
            );
            new.with_extent(0)?;
        }
        let source = self.source(value);
        Ok(self.value(new, follows, Some(source)))
    }

    /// The elements of a value under other dimensions: as they lie, or moved by a [`Reshape`] where rows have padding.
    #[cfg(any(feature = "onnx", feature = "tflite"))]
    pub(crate) fn reshape_or_move(&mut self, value: Value, dims: &[usize]) -> Result<Value> {
        if self.tensor_type(value)?.dims() == dims {
            return Ok(value);
        }
        match self.reshape(value, dims) {
            Ok(value) => Ok(value),
            Err(_) => self.add(Reshape::new(self.tensor_type(value)?.clone(), dims)?, &[value]),
        }
    }

    /// The codes of a value under another scale or zero point, without moving them.
    ///
    /// ```
    /// use lowbit::{DType, Graph, Quantization, Tensor, TensorType, ops::Dequantize};
    /// let mut graph = Graph::new();
    /// let x = graph.input(TensorType::new(DType::Int8, [2])?.quantized(Quantization::tensor(0.5, 0))?);
    /// let third = graph.rescaled(x, Quantization::tensor(0.5 / 4.0, 0))?;
    /// let y = graph.add(Dequantize::new(graph.tensor_type(third)?.clone()).build()?, &[third])?;
    /// graph.output(y);
    /// let x = Tensor::new([2], vec![8i8, -16])?;
    /// assert_eq!(graph.run_reference(&[&x])?[0].values::<f32>()?, [1.0, -2.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the value belongs to another graph, its scales are in another tensor, or the scales don't fit it.
    pub fn rescaled(&mut self, value: Value, quantization: Quantization) -> Result<Value> {
        self.check(value)?;
        let old = &self.types[value.index];
        require!(!old.has_dynamic_scales(), "{old} has its scales in another tensor: give the next op another one");
        let new = old.clone().quantized(quantization)?;
        let (follows, source) = (self.follows[value.index], self.source(value));
        if follows {
            new.with_extent(0)?;
        }
        Ok(self.value(new, follows, Some(source)))
    }

    /// Declares the next output. Each output is written to a buffer of its own: an input, a constant, or a value that is an output
    /// already is copied by a [`Reshape`]. A value of another graph is refused when the graph is planned.
    pub fn output(&mut self, value: Value) {
        let output = if self.is_taken(value) { self.copy(value).unwrap_or(value) } else { value };
        self.outputs.push(output);
    }

    /// True if the elements of a value are those of an input, a constant or an output.
    fn is_taken(&self, value: Value) -> bool {
        let known = self.check(value).is_ok();
        let mut taken = self.inputs.iter().chain(&self.outputs).chain(self.constants.iter().map(|(value, _)| value));
        known && taken.any(|&other| self.storage(other) == self.storage(value))
    }

    fn copy(&mut self, value: Value) -> Result<Value> {
        let copied = &self.types[value.index];
        let copy = self.add(Reshape::new(copied.clone(), copied.dims())?, &[value])?;
        self.names[copy.index] = self.names[value.index].clone();
        Ok(copy)
    }

    /// The type of a value.
    ///
    /// # Errors
    /// If the value belongs to another graph.
    pub fn tensor_type(&self, value: Value) -> Result<&TensorType> {
        self.check(value)?;
        Ok(&self.types[value.index])
    }

    /// The types of the inputs, in order.
    pub fn input_types(&self) -> impl ExactSizeIterator<Item = &TensorType> {
        self.inputs.iter().map(|v| &self.types[v.index])
    }

    /// The ops, in order.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = &Op> {
        self.steps.iter().map(|step| &*step.op)
    }

    /// Runs the graph on the CPU reference, on all cores, one op after the other, without fusion. Returns the outputs, then the new
    /// contents of the states.
    ///
    /// # Errors
    /// If the inputs don't fit.
    pub fn run_reference(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let graph = self.for_inputs(inputs.iter().map(|t| t.tensor_type()))?;
        graph.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
        graph.check_outputs()?;
        let tensors = execute_for_results(&graph, inputs)?;
        let outputs = graph.outputs.iter().map(|&value| (value, value)).chain(graph.states.iter().copied());
        let read = |(of, value)| Ok(read_as(&graph, &tensors, value, of)?.with_type(graph.types[of.index].clone()));
        outputs.map(read).collect()
    }

    /// The inputs that are dynamic parameters of which ops use all, with the format of the codes they describe.
    pub(crate) fn parameter_inputs(&self) -> Vec<(usize, DType)> {
        let position = |value: &Value| self.inputs.iter().position(|&input| input == self.storage(*value));
        let parameters = |step: &Step| -> Vec<(usize, DType)> {
            let of_kind = step.inputs.iter().filter(|v| self.types[v.index].dtype() == DType::Parameters);
            let codes = step.inputs.first().map(|v| self.types[v.index].dtype());
            of_kind.filter_map(position).zip(codes.into_iter().cycle()).collect()
        };
        self.steps.iter().filter(|step| step.op.uses_all_parameters()).flat_map(parameters).collect()
    }

    fn check(&self, value: Value) -> Result<()> {
        let known = value.graph == self.id && value.index < self.types.len();
        require!(known, "the value is of another graph: use those that this graph's own methods returned");
        Ok(())
    }

    pub(crate) fn check_outputs(&self) -> Result<()> {
        self.outputs.iter().try_for_each(|&value| self.check(value))
    }

    /// Checks tensors that are about to be this graph's inputs.
    pub(crate) fn check_inputs<'a>(&self, given: impl ExactSizeIterator<Item = &'a TensorType>) -> Result<()> {
        check_tensors("input", self.inputs.iter().map(|v| &self.types[v.index]), given)
    }

    /// The largest extent of dynamic inputs; `None` if there are none.
    #[must_use]
    pub fn extent(&self) -> Option<usize> {
        self.extent
    }

    /// The name of a value in parentheses after a space, or an empty string.
    pub(crate) fn label(&self, value: Value) -> String {
        self.names[value.index].as_ref().map_or_else(String::new, |name| format!(" ({name})"))
    }

    /// The value that has the elements of a value: for a reshaped one that before.
    pub(crate) fn source(&self, value: Value) -> Value {
        self.aliases[value.index].unwrap_or(value)
    }

    /// The value in whose buffer the elements of a value are: for contents of a state that state.
    pub(crate) fn storage(&self, value: Value) -> Value {
        let source = self.source(value);
        self.homes[source.index].unwrap_or(source)
    }

    /// The types of some values.
    pub(crate) fn types_of(&self, values: &[Value]) -> Vec<TensorType> {
        values.iter().map(|value| self.types[value.index].clone()).collect()
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn inputs(&self) -> &[Value] {
        &self.inputs
    }

    pub(crate) fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    pub(crate) fn types(&self) -> &[TensorType] {
        &self.types
    }
}

/// Checks that the number of tensors, their formats and their shapes are as expected.
pub(crate) fn check_tensors<'a, 'b>(
    what: &str,
    expected: impl ExactSizeIterator<Item = &'a TensorType>,
    given: impl ExactSizeIterator<Item = &'b TensorType>,
) -> Result<()> {
    require!(given.len() == expected.len(), "the graph has {} {what}s, but {} were given", expected.len(), given.len());
    for (i, (given, expected)) in given.zip(expected).enumerate() {
        require!(
            given.dtype() == expected.dtype() && given.shape() == expected.shape(),
            "{what} {i} is {given}, but the graph has {expected} there"
        );
        require!(
            given.scales_agree(expected),
            "{what} {i} is {given} with {}, but the graph has {} there",
            given.describe_scales(),
            expected.describe_scales()
        );
    }
    Ok(())
}
