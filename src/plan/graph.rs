//! A graph of ops over named tensors, without any device. `schedule` fuses and orders its steps and places its tensors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::execute::{execute_for_results, read_as};
use super::extents::{Dimension, Dims, Extent, Extents, dims_at, fixed, followed};
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
/// # Batches and sequences of any length
///
/// An [`Extent`] is a size that is known at run time: [`Graph::extent`] gives it a name and a largest size. Dimensions of a
/// [`Graph::dynamic_input`] follow extents, and dimensions of values that are computed from it do so too, in proportion. A tensor that
/// is bound to a plan may have any smaller size there. A graph may have several extents, each of which varies by itself.
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
    extents: Extents,
    /// The dimensions of each value, which may follow extents. `types` has them at the largest.
    dims: Vec<Dims>,
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
            extents: Extents::default(),
            dims: vec![],
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

    fn value(&mut self, tensor_type: TensorType, dims: Dims, alias: Option<Value>) -> Value {
        self.types.push(tensor_type);
        self.names.push(None);
        self.dims.push(dims);
        self.aliases.push(alias);
        self.homes.push(None);
        Value { index: self.types.len() - 1, graph: self.id }
    }

    /// Declares the next input.
    pub fn input(&mut self, tensor_type: TensorType) -> Value {
        let dims = fixed(&tensor_type);
        let value = self.value(tensor_type, dims, None);
        self.inputs.push(value);
        value
    }

    /// Declares an extent: a size of 0 to `largest` that is known when tensors are bound, and a name for messages and for
    /// [`Plan::at`](crate::Plan::at). The workspace of a plan has room for the largest.
    ///
    /// ```
    /// use lowbit::{DType, Graph, Tensor, TensorType, ops::{Arithmetic, FloatBinary}};
    /// let mut graph = Graph::new();
    /// let (rows, columns) = (graph.extent("rows", 8)?, graph.extent("columns", 9)?);
    /// let x = graph.dynamic_input(TensorType::float32([8, 9])?, [(0, rows), (1, columns)])?;
    /// let y = graph.dynamic_input(TensorType::float32([9])?, [(0, columns)])?;
    /// let product = FloatBinary::new(graph.tensor_type(x)?.clone(), graph.tensor_type(y)?.clone(), Arithmetic::Multiply)?;
    /// let product = graph.add(product, &[x, y])?;
    /// graph.output(product);
    ///
    /// let x = Tensor::new([1, 3], vec![1.0f32, 2.0, 3.0])?;
    /// let y = Tensor::new([3], vec![10.0f32, 20.0, 30.0])?;
    /// assert_eq!(graph.run_reference(&[&x, &y])?[0].values::<f32>()?, [10.0, 40.0, 90.0]);
    /// let y = Tensor::new([2], vec![10.0f32, 20.0])?;
    /// let error = graph.run_reference(&[&x, &y]).unwrap_err().to_string();
    /// assert!(error.starts_with("columns is 3 in input 0 but 2 in input 1"), "{error}");
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the name is empty or taken, or the largest size is 0.
    pub fn extent(&mut self, name: impl Into<Arc<str>>, largest: usize) -> Result<Extent> {
        Ok(Extent { index: self.extents.add(name.into(), largest)?, graph: self.id })
    }

    /// The names of the extents and their largest sizes, in order of declaration.
    pub fn extents(&self) -> impl ExactSizeIterator<Item = (&str, usize)> {
        self.extents.iter()
    }

    /// Declares the next input, of which some dimensions follow extents. The type has the largest of each: the largest size of the
    /// extent, or a multiple of it.
    ///
    /// A dimension of an op's output follows an extent if it is in proportion to it. An op refuses an extent in a dimension that is
    /// a constant of it, such as k of a product by weights, or the height of images: there the tensors of a plan have one size.
    /// The first dimension can follow an extent in nearly every op.
    ///
    /// ```
    /// use lowbit::{DType, Graph, Quantization, TensorType, ops::Quantize};
    /// let mut graph = Graph::new();
    /// let tokens = graph.extent("tokens", 512)?; // up to 512 tokens
    /// let x = graph.dynamic_input(TensorType::new(DType::Float32, [512, 64])?, [(0, tokens)])?;
    /// let codes = TensorType::new(DType::Int8, [512, 64])?.quantized(Quantization::tensor(0.1, 0))?;
    /// let codes = graph.add(Quantize::new(graph.tensor_type(x)?.clone(), codes).build()?, &[x])?;
    /// graph.output(codes);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a dimension doesn't exist, is named twice or is no multiple of its extent, the type has scales along it, no dimension is named,
    /// or an extent is of another graph.
    pub fn dynamic_input(
        &mut self,
        tensor_type: TensorType,
        following: impl IntoIterator<Item = (usize, Extent)>,
    ) -> Result<Value> {
        let of_graph = |(axis, extent): (usize, Extent)| {
            require!(
                extent.graph == self.id,
                "dimension {axis} of the dynamic input {tensor_type} is to follow an extent of another graph"
            );
            Ok((axis, extent.index))
        };
        let following = following.into_iter().map(of_graph).collect::<Result<Vec<_>>>()?;
        let dims = self.extents.declared(&tensor_type, &following)?;
        self.check_scales(&tensor_type, &dims)?;
        let value = self.value(tensor_type, dims, None);
        self.inputs.push(value);
        Ok(value)
    }

    /// Refuses scales along a dimension that follows an extent.
    fn check_scales(&self, tensor_type: &TensorType, dims: &[Dimension]) -> Result<()> {
        tensor_type.with_dims(&dims_at(dims, &vec![0; self.extents.iter().len()])).map(drop)
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
        let value = self.value(tensor.tensor_type().clone(), fixed(tensor.tensor_type()), None);
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
        let dims = self.follow(&op, inputs)?;
        let outputs = op.outputs().into_iter().zip(dims).map(|(t, dims)| self.value(t, dims, None));
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

    /// The dimensions of the outputs of an op.
    fn follow(&self, op: &Op, inputs: &[Value]) -> Result<Vec<Dims>> {
        let outputs = op.outputs();
        let types_at = |sizes: &[usize]| {
            let inputs = inputs.iter().map(|&v| self.type_at(v, sizes)).collect::<Result<Vec<_>>>()?;
            Ok(op.with_inputs(&inputs)?.outputs())
        };
        let dims = self.extents.follow(op.name(), &self.followed(inputs), &outputs, types_at)?;
        outputs.iter().zip(&dims).try_for_each(|(made, dims)| self.check_scales(made, dims))?;
        Ok(dims)
    }

    /// The extents that some values follow, by index.
    pub(super) fn followed(&self, values: &[Value]) -> Vec<usize> {
        followed(values.iter().flat_map(|value| &self.dims[value.index]))
    }

    /// The extents that dimensions of a value after the first follow, by index.
    pub(super) fn followed_inside(&self, value: Value) -> Vec<usize> {
        followed(self.dims[value.index].iter().skip(1))
    }

    /// The type of a value where the extents have these sizes.
    pub(super) fn type_at(&self, value: Value, sizes: &[usize]) -> Result<TensorType> {
        let (most, dims) = (&self.types[value.index], &self.dims[value.index]);
        if dims.iter().all(Dimension::is_fixed) { Ok(most.clone()) } else { most.with_dims(&dims_at(dims, sizes)) }
    }

    /// The extents that each dimension of a value follows, from the outermost that follows one. Values that have them in common
    /// are equal in these dimensions, or broadcast, at all extents if they do so at one.
    pub(super) fn follows(&self, value: Value) -> Vec<Vec<usize>> {
        let extents = self.dims[value.index].iter().map(|dimension| followed([dimension]));
        extents.skip_while(Vec::is_empty).collect()
    }

    /// True if a dimension of a value follows an extent.
    #[cfg(feature = "onnx")]
    pub(crate) fn is_open(&self, value: Value, axis: usize) -> bool {
        self.dims[value.index].get(axis).is_some_and(|dimension| !dimension.is_fixed())
    }

    /// The largest sizes of the extents.
    pub(crate) fn largest(&self) -> Vec<usize> {
        self.extents.largest()
    }

    /// The sizes of extents that are asked for by name; others are at their largest.
    pub(crate) fn named_sizes(&self, asked: &[(&str, usize)]) -> Result<Vec<usize>> {
        self.extents.named(asked)
    }

    /// Sizes of the extents, for people.
    pub(crate) fn describe_sizes(&self, sizes: &[usize]) -> String {
        self.extents.with_sizes(sizes)
    }

    /// The graph, with the same values, where the extents have these sizes. Constants are shared.
    pub(crate) fn at(&self, sizes: &[usize]) -> Result<Self> {
        let mut graph = self.clone();
        if self.largest() == sizes {
            return Ok(graph);
        }
        for (index, tensor_type) in graph.types.iter_mut().enumerate() {
            *tensor_type = self.type_at(Value { index, graph: self.id }, sizes)?;
        }
        for step in &mut graph.steps {
            let inputs: Vec<TensorType> = step.inputs.iter().map(|v| graph.types[v.index].clone()).collect();
            step.op = Arc::new(step.op.with_inputs(&inputs)?);
        }
        Ok(graph)
    }

    /// The graph where the extents have these sizes, and others their largest: one without extents, of the same values.
    /// Constants are shared. Its plan takes tensors of these sizes only, and a workspace for no more.
    ///
    /// ```
    /// use lowbit::{Graph, TensorType, ops::{FloatUnary, Function}};
    /// let mut graph = Graph::new();
    /// let tokens = graph.extent("tokens", 512)?;
    /// let x = graph.dynamic_input(TensorType::float32([512, 64])?, [(0, tokens)])?;
    /// let y = graph.add(FloatUnary::new(graph.tensor_type(x)?.clone(), Function::Relu)?, &[x])?;
    /// graph.output(y);
    /// assert_eq!(graph.fixed(&[("tokens", 3)])?.tensor_type(y)?.dims(), [3, 64]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such extent, a size is beyond its largest, or an op can't have it.
    pub fn fixed(&self, sizes: &[(&str, usize)]) -> Result<Self> {
        let mut graph = self.at(&self.named_sizes(sizes)?)?;
        graph.extents = Extents::default();
        graph.dims = graph.types.iter().map(fixed).collect();
        Ok(graph)
    }

    /// The graph at the sizes of tensors of these types.
    pub(crate) fn for_inputs<'a>(&'a self, given: impl Iterator<Item = &'a TensorType>) -> Result<Self> {
        self.at(&self.sizes_of(given)?)
    }

    /// The types of some values where the extents have these sizes.
    pub(crate) fn types_at(&self, values: &[Value], sizes: &[usize]) -> Result<Vec<TensorType>> {
        values.iter().map(|&value| self.type_at(value, sizes)).collect()
    }

    /// The sizes of the extents in tensors of these types, which are about to be the inputs.
    pub(crate) fn sizes_of<'a>(&'a self, given: impl Iterator<Item = &'a TensorType>) -> Result<Vec<usize>> {
        let inputs = self.inputs.iter().map(|&value| (&self.dims[value.index][..], self.label(value)));
        self.extents.sizes(inputs, given)
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
        let old_dims = &self.dims[value.index];
        let dims = self.extents.reshaped(old_dims, new.dims())?;
        self.check_scales(&new, &dims)?;
        // Rows of any multiple of a dense row are dense.
        let row = |dims: &Dims| dims.last().cloned().unwrap_or(Dimension::fixed(1));
        let dense = |dims: &Dims| {
            let factor = row(dims).factor();
            new.dtype().row_words(factor) * 32 == factor * new.dtype().bits()
        };
        require!(
            row(old_dims) == row(&dims) || (dense(old_dims) && dense(&dims)),
            "{old} can't become {new} in place: rows of {} codes are padded to 16 bytes, so the last dimension must stay \
             or fill them; ops::Reshape moves them; to flatten an image before a fully connected layer, a Conv whose kernel is the \
             whole image is faster",
            old.dtype()
        );
        let source = self.source(value);
        Ok(self.value(new, dims, Some(source)))
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
        let (dims, source) = (self.dims[value.index].clone(), self.source(value));
        self.check_scales(&new, &dims)?;
        Ok(self.value(new, dims, Some(source)))
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
