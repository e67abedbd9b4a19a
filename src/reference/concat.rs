//! The meaning of `ops::Concat`. GPU twin: `shaders/layout/concat.wgsl`.

use super::Meaning;
use super::table::table;
use crate::error::Result;
use crate::ops::Concat;
use crate::tensor::Tensor;

impl Meaning for Concat {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![concat(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

fn concat(op: &Concat, inputs: &[&Tensor]) -> Tensor {
    let output = op.output_type();
    let outer: usize = output.dims()[..op.axis()].iter().product();
    // The elements of the inputs, one input after the other.
    let mapped = op.joined().iter().zip(inputs).map(|(joined, &input)| match &joined.table {
        Some(map) => table(map, input),
        None => input.clone(),
    });
    let mapped: Vec<Tensor> = mapped.collect();
    let elements = Tensor::joined(output.clone(), mapped.iter());
    let mut sources = Vec::with_capacity(output.shape().elements());
    for index in 0..outer {
        let mut first = 0;
        for input in inputs {
            let count = input.tensor_type().shape().elements();
            let run = count / outer;
            sources.extend((index * run..(index + 1) * run).map(|i| Some(first + i)));
            first += count;
        }
    }
    elements.gathered(output.clone(), &sources, 0)
}
