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
    run_steps(graph, inputs, |_, _| {})
}

/// As [`execute`], but for the outputs and the last contents of states only. Other tensors are dropped after the last op that reads
/// them: a state has as many versions as ops that change it.
pub(crate) fn execute_for_results(graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    let mut last = vec![0; graph.types().len()];
    for (time, step) in graph.steps().iter().enumerate() {
        for &value in step.inputs.iter().chain(&step.outputs) {
            last[graph.source(value).index()] = time;
        }
    }
    for &value in graph.outputs().iter().chain(graph.states().iter().map(|(_, latest)| latest)) {
        last[graph.source(value).index()] = usize::MAX;
    }
    run_steps(graph, inputs, |time, tensors| {
        let step = &graph.steps()[time];
        for value in step.inputs.iter().chain(&step.outputs).map(|&value| graph.source(value).index()) {
            tensors[value].take_if(|_| last[value] == time);
        }
    })
}

/// The tensors of all values that `after` leaves there, which is called with the number of each step that has run.
fn run_steps(
    graph: &Graph,
    inputs: &[&Tensor],
    mut after: impl FnMut(usize, &mut [Option<Tensor>]),
) -> Result<Vec<Option<Tensor>>> {
    let mut tensors: Vec<Option<Tensor>> = vec![None; graph.types().len()];
    let constants = graph.constants().iter().map(|(value, tensor)| (value, &**tensor));
    for (value, tensor) in graph.inputs().iter().zip(inputs.iter().copied()).chain(constants) {
        tensors[value.index()] = Some(tensor.clone());
    }
    for (time, step) in graph.steps().iter().enumerate() {
        // Parts of an op share the words of deferred weights.
        let _words = step.op.packed_weights().into_iter().map(|weights| weights.words()).collect::<Result<Vec<_>>>()?;
        let inputs = step.inputs.iter().map(|&value| read(graph, &tensors, value)).collect::<Result<Vec<_>>>()?;
        let outputs = run(&step.op, &inputs.iter().collect::<Vec<_>>())?;
        for (value, output) in step.outputs.iter().zip(outputs) {
            tensors[value.index()] = Some(output);
        }
        after(time, &mut tensors);
    }
    Ok(tensors)
}

/// A value of a graph that has been executed, under its own type.
pub(crate) fn read(graph: &Graph, tensors: &[Option<Tensor>], value: Value) -> Result<Tensor> {
    read_as(graph, tensors, value, value)
}

/// A value of a graph that has been executed, under the type of another: contents of a state under that of the state.
pub(crate) fn read_as(graph: &Graph, tensors: &[Option<Tensor>], value: Value, shape: Value) -> Result<Tensor> {
    let stored = tensors[graph.source(value).index()].as_ref().expect("steps are in order");
    Ok(stored.retyped(graph.types()[shape.index()].clone()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Append, FloatUnary, Function};
    use crate::plan::graph::Graph;

    /// Forty versions of a state, with a step between them that reads each: the last one and the output stay.
    #[test]
    fn old_versions_of_a_state_are_dropped() -> Result<()> {
        let (cache, row) = (TensorType::float32([50, 2])?, TensorType::float32([1, 2])?);
        let mut graph = Graph::new();
        let mut state = graph.state(cache.clone());
        let (rows, position) = (graph.input(row.clone()), graph.input(TensorType::int32([1])?));
        let view = graph.reshape(rows, [1, 2])?;
        let mut read = state;
        for _ in 0..40 {
            state = graph.add(Append::new(cache.clone(), row.clone())?, &[state, view, position])?;
            read = graph.add(FloatUnary::new(cache.clone(), Function::Relu)?, &[state])?;
        }
        graph.output(read);
        let inputs = [
            Tensor::new([50, 2], vec![-1.0f32; 100])?,
            Tensor::new([1, 2], vec![1.0f32, -2.0])?,
            Tensor::new([1], vec![7i32])?,
        ];
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let (all, results) = (execute(&graph, &inputs)?, execute_for_results(&graph, &inputs)?);
        let kept: Vec<usize> = (0..results.len()).filter(|&i| results[i].is_some()).collect();
        assert_eq!(kept, [state.index(), read.index()]);
        for i in kept {
            let [all, results] = [&all, &results].map(|tensors| tensors[i].as_ref().expect("kept"));
            assert_eq!(all.values::<f32>()?, results.values::<f32>()?);
        }
        let outputs = graph.run_reference(&inputs)?;
        assert_eq!(outputs[0].values::<f32>()?[12..16], [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(outputs[1].values::<f32>()?[12..16], [-1.0, -1.0, 1.0, -2.0]);
        Ok(())
    }
}
