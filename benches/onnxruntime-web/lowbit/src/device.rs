//! The device of conformance cases, whose operators are synchronous functions: the first call of one says what it asks for, the second
//! gets the answer.

use std::cell::RefCell;

use lowbit::ops::Op;
use lowbit::{Graph, Tensor};

use crate::Result;

#[derive(Debug, Default)]
pub(crate) struct Device {
    answer: Option<Vec<Tensor>>,
    asked: RefCell<Option<(Graph, Vec<Tensor>)>>,
}

impl Device {
    pub(crate) fn answering(answer: Vec<Tensor>) -> Self {
        Self { answer: Some(answer), ..Self::default() }
    }

    /// The graph that was to run, and its inputs.
    pub(crate) fn asked(&self) -> Option<(Graph, Vec<Tensor>)> {
        self.asked.take()
    }

    pub(crate) fn run(&self, op: impl Into<Op>, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        self.run_graph(&Graph::of(op.into())?, inputs)
    }

    pub(crate) fn run_graph(&self, graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        if let Some(answer) = &self.answer {
            return Ok(answer.clone());
        }
        self.asked.replace(Some((graph.clone(), inputs.iter().map(|&input| input.clone()).collect())));
        Err("the device has not answered yet".into())
    }
}
