//! A graph on the CPU reference, in the caller's order and without fusion: every plan must equal it. Ops whose rows are independent
//! run on all cores. The ops are defined in `reference`.

use rayon::prelude::*;

use super::graph::{Graph, Value};
use crate::error::Result;
use crate::ops::Op;
use crate::reference;
use crate::tensor::{Tensor, TensorType};

/// The tensors of all values of a graph at the extent of its inputs, by index; `None` for reshaped values.
pub(crate) fn execute(graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    let mut tensors: Vec<Option<Tensor>> = vec![None; graph.types().len()];
    for (value, tensor) in graph.inputs().iter().zip(inputs) {
        tensors[value.index()] = Some((*tensor).clone());
    }
    for step in graph.steps() {
        // Parts of an op share the words of deferred weights.
        let _words = step.op.packed_weights().into_iter().map(|weights| weights.words()).collect::<Result<Vec<_>>>()?;
        let inputs = step.inputs.iter().map(|&value| read(graph, &tensors, value)).collect::<Result<Vec<_>>>()?;
        let outputs = run(&step.op, &inputs.iter().collect::<Vec<_>>())?;
        for (value, output) in step.outputs.iter().zip(outputs) {
            tensors[value.index()] = Some(output);
        }
    }
    Ok(tensors)
}

/// A value of a graph that has been executed, under its own shape.
pub(crate) fn read(graph: &Graph, tensors: &[Option<Tensor>], value: Value) -> Result<Tensor> {
    read_as(graph, tensors, value, value)
}

/// A value of a graph that has been executed, under the shape of another: contents of a state under that of the state.
pub(crate) fn read_as(graph: &Graph, tensors: &[Option<Tensor>], value: Value, shape: Value) -> Result<Tensor> {
    let stored = tensors[graph.source(value).index()].as_ref().expect("steps are in order");
    stored.reshaped(graph.types()[shape.index()].dims())
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
