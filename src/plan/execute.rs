//! A graph on the CPU reference, in the caller's order and without fusion: every plan must equal it. Ops whose rows are independent
//! run on all cores. The ops are defined in `reference`.

use rayon::prelude::*;

use super::graph::{Graph, Step, Value};
use crate::error::Result;
use crate::ops::Op;
use crate::reference;
use crate::tensor::{Tensor, TensorType};

/// A graph that runs on the reference, step by step.
pub(crate) struct Execution<'a> {
    graph: &'a Graph,
    /// By index; `None` for values that are not there yet, or stored as others. States have their contents so far.
    tensors: Vec<Option<Tensor>>,
}

impl<'a> Execution<'a> {
    /// The graph, at the extent of these inputs, before its first step.
    pub(crate) fn new(graph: &'a Graph, inputs: &[&Tensor]) -> Self {
        let mut tensors = vec![None; graph.types().len()];
        for (value, &tensor) in graph.inputs().iter().zip(inputs) {
            tensors[value.index()] = Some(tensor.clone());
        }
        Self { graph, tensors }
    }

    /// Runs the next step of the graph. Returns its inputs and outputs.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let inputs = step.inputs.iter().map(|&value| self.read(value)).collect::<Result<Vec<_>>>()?;
        let outputs = run(&step.op, &inputs.iter().collect::<Vec<_>>())?;
        for (&value, output) in step.outputs.iter().zip(&outputs) {
            let storage = self.graph.storage(value).index();
            self.tensors[storage] = Some(output.reshaped(self.graph.types()[storage].dims())?);
        }
        Ok((inputs, outputs))
    }

    /// A value, under its own shape.
    pub(crate) fn read(&self, value: Value) -> Result<Tensor> {
        let stored = self.tensors[self.graph.storage(value).index()].as_ref().expect("steps are in order");
        stored.reshaped(self.graph.types()[value.index()].dims())
    }
}

/// Runs an op on the reference, in parallel parts of its rows if these are independent.
fn run(op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let outputs = op.outputs();
    let rows = outputs[0].dims().first().copied().unwrap_or(0);
    let parts = rows.min(4 * rayon::current_num_threads());
    let Some(by_row) = op.inputs_by_row().filter(|_| parts > 1) else {
        return reference::run(op, inputs);
    };
    let part = |index: usize| -> Result<Vec<Tensor>> {
        let range = rows * index / parts..rows * (index + 1) / parts;
        let op = op.with_rows(&by_row, range.len())?;
        let slice = |(i, t): (usize, TensorType)| match by_row[i] {
            true => inputs[i].part(t, range.start),
            false => inputs[i].clone(),
        };
        let inputs: Vec<Tensor> = op.inputs().into_iter().enumerate().map(slice).collect();
        reference::run(&op, &inputs.iter().collect::<Vec<_>>())
    };
    let parts = (0..parts).into_par_iter().map(part).collect::<Result<Vec<_>>>()?;
    let join = |(i, tensor_type): (usize, TensorType)| Tensor::joined(tensor_type, parts.iter().map(|part| &part[i]));
    Ok(outputs.into_iter().enumerate().map(join).collect())
}
