//! What runs, on what, in which order: a graph of ops over named tensors, without any device. Choosing kernels is `tune`'s,
//! buffers and recording are `gpu`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Result, require};
use crate::numeric::Format;
use crate::ops::Op;
use crate::reference;
use crate::tensor::{Granularity, Tensor, TensorType};

/// A tensor of a [`Graph`]: an input or the result of an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    index: usize,
    /// The graph that it is of.
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

/// Ops over inputs and intermediate tensors, checked as they are added and run in the order of adding.
///
/// ```
/// use lowbit::{Format, Graph, Quantization, Tensor, TensorType, ops::{Matmul, Quantize, Output}};
/// let codes = TensorType::new(Format::Uint8, [1, 4])?.quantized(Quantization::tensor(0.5, 10))?;
/// let weights = Tensor::new([4, 2], vec![1i8; 8])?.quantized(Quantization::tensor(0.25, 0))?;
///
/// let mut graph = Graph::new();
/// let x = graph.input(TensorType::new(Format::Float32, [1, 4])?);
/// let x = graph.add(Quantize::new(codes.clone())?, &[x])?;
/// let y = graph.add(Matmul::new(codes, weights).output(Output::real()).build()?, &[x])?;
/// graph.output(y);
///
/// let x = Tensor::new([1, 4], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(graph.run_reference(&[&x])?[0].values::<f32>()?, [2.5, 2.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Graph {
    /// Shared with clones only: values made before cloning are good in both.
    id: u64,
    types: Vec<TensorType>,
    /// For a value that is another one under a new shape: that other one.
    aliases: Vec<Option<Value>>,
    steps: Vec<Step>,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

impl Default for Graph {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, types: vec![], aliases: vec![], steps: vec![], inputs: vec![], outputs: vec![] }
    }
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn value(&mut self, tensor_type: TensorType, alias: Option<Value>) -> Value {
        self.types.push(tensor_type);
        self.aliases.push(alias);
        Value { index: self.types.len() - 1, graph: self.id }
    }

    /// Declares the next input.
    pub fn input(&mut self, tensor_type: TensorType) -> Value {
        let value = self.value(tensor_type, None);
        self.inputs.push(value);
        value
    }

    /// Adds an op and returns its first (mostly its only) output.
    ///
    /// # Errors
    /// If the inputs are not as many or not of the formats, shapes and scales that the op was made for.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Value> {
        Ok(self.add_all(op, inputs)?[0])
    }

    /// Adds an op and returns all its outputs.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn add_all(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Vec<Value>> {
        let op = op.into();
        for input in inputs {
            self.check(*input)?;
        }
        op.check_inputs(inputs.iter().map(|v| &self.types[v.index]))?;
        op.check_scales(inputs.iter().map(|v| &self.types[v.index]))?;
        let outputs: Vec<Value> = op.outputs().into_iter().map(|t| self.value(t, None)).collect();
        self.steps.push(Step { op: Arc::new(op), inputs: inputs.to_vec(), outputs: outputs.clone() });
        Ok(outputs)
    }

    /// The same elements under other dimensions, without moving them.
    ///
    /// # Errors
    /// If the number of elements differs, or rows of a packed format have padding and would have another length. To flatten
    /// such an image before a fully connected layer, use a [`Conv`](crate::ops::Conv) whose kernel is the whole image.
    pub fn reshape(&mut self, value: Value, dimensions: impl Into<Vec<usize>>) -> Result<Value> {
        self.check(value)?;
        let old = &self.types[value.index];
        let mut new = TensorType::new(old.format(), dimensions)?;
        require!(
            old.shape().elements() == new.shape().elements(),
            "{old} can't become {new}: the number of elements differs"
        );
        let dense = |t: &TensorType| {
            t.format().row_words(t.shape().row_length()) * 32 == t.shape().row_length() * t.format().bits()
        };
        require!(
            old.shape().row_length() == new.shape().row_length() || (dense(old) && dense(&new)),
            "{old} can't become {new} in place: rows of {} codes are padded to 16 bytes, so the last dimension must stay \
             or fill them; to flatten an image before a fully connected layer, use a Conv whose kernel is the whole image",
            old.format()
        );
        if let Some(quantization) = old.quantization()
            && quantization.granularity() == Granularity::Tensor
        {
            new = new.quantized(quantization.clone())?;
        }
        if old.has_dynamic_scales() {
            new = new.with_dynamic_scales();
        }
        let source = self.storage(value);
        Ok(self.value(new, Some(source)))
    }

    /// Declares the next output. A value of another graph, an input and a value that is an output already are refused when
    /// the graph is planned: each output is written to a buffer of its own.
    pub fn output(&mut self, value: Value) {
        self.outputs.push(value);
    }

    /// The type of a value.
    ///
    /// # Errors
    /// If the value is of another graph.
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

    /// Runs the graph on the CPU reference.
    ///
    /// # Errors
    /// If the inputs don't fit.
    pub fn run_reference(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        self.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
        self.check_outputs()?;
        let mut tensors: Vec<Option<Tensor>> = vec![None; self.types.len()];
        for (value, tensor) in self.inputs.iter().zip(inputs) {
            tensors[value.index] = Some((*tensor).clone());
        }
        let read = |tensors: &[Option<Tensor>], value: Value| -> Result<Tensor> {
            let stored = tensors[self.storage(value).index].as_ref().expect("steps are in order");
            stored.reshaped(self.types[value.index].dimensions())
        };
        for step in &self.steps {
            let inputs = step.inputs.iter().map(|&v| read(&tensors, v)).collect::<Result<Vec<_>>>()?;
            let outputs = reference::run(&step.op, &inputs.iter().collect::<Vec<_>>())?;
            for (value, output) in step.outputs.iter().zip(outputs) {
                tensors[value.index] = Some(output);
            }
        }
        self.outputs.iter().map(|&v| Ok(read(&tensors, v)?.with_type(self.types[v.index].clone()))).collect()
    }

    /// The inputs that are dynamic parameters, with the format of the codes they describe.
    pub(crate) fn parameter_inputs(&self) -> Vec<(usize, Format)> {
        let position = |value: &Value| self.inputs.iter().position(|&input| input == self.storage(*value));
        let parameters = |step: &Step| -> Vec<(usize, Format)> {
            let of_kind = step.inputs.iter().filter(|v| self.types[v.index].format() == Format::Parameters);
            let codes = step.inputs.first().map(|v| self.types[v.index].format());
            of_kind.filter_map(position).zip(codes.into_iter().cycle()).collect()
        };
        self.steps.iter().flat_map(parameters).collect()
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

    /// The value whose storage this value is.
    pub(crate) fn storage(&self, value: Value) -> Value {
        self.aliases[value.index].unwrap_or(value)
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

/// Checks that tensors are as many, and of the formats and shapes, as expected.
pub(crate) fn check_tensors<'a, 'b>(
    what: &str,
    expected: impl ExactSizeIterator<Item = &'a TensorType>,
    given: impl ExactSizeIterator<Item = &'b TensorType>,
) -> Result<()> {
    require!(given.len() == expected.len(), "the graph has {} {what}s, but {} were given", expected.len(), given.len());
    for (i, (given, expected)) in given.zip(expected).enumerate() {
        require!(
            given.format() == expected.format() && given.shape() == expected.shape(),
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
