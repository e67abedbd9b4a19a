//! The device of conformance cases, whose operators are synchronous functions. A launch that a browser hasn't run yet ends the function
//! with an error; once its outputs are there the function is called again, and gets them.

use std::cell::{Cell, RefCell};

use lowbit::ops::Op;
use lowbit::{Context, Graph, Tensor, Tuner};

use crate::Result;
use crate::array::Array;
use crate::case::Case;
use crate::ops;

/// The outputs of the launches of a case so far.
#[derive(Debug, Default)]
pub(crate) struct Device {
    /// `None` for the CPU reference, which answers at once.
    answers: Option<Vec<Vec<Tensor>>>,
    /// The number of launches that were asked for in this call.
    launches: Cell<usize>,
    /// The launch that has no outputs yet.
    asked: RefCell<Option<(Graph, Vec<Tensor>)>>,
}

impl Device {
    /// A device without any outputs yet.
    pub(crate) fn asking() -> Self {
        Self { answers: Some(Vec::new()), ..Self::default() }
    }

    /// The launch that has no outputs yet, with its inputs.
    pub(crate) fn asked(&self) -> Option<(Graph, Vec<Tensor>)> {
        self.asked.take()
    }

    /// Gives the outputs of that launch, for the next call.
    pub(crate) fn answer(&mut self, outputs: Vec<Tensor>) {
        self.launches.set(0);
        self.answers.get_or_insert_default().push(outputs);
    }

    /// Outputs of an op.
    pub(crate) fn run(&self, op: impl Into<Op>, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        self.run_graph(&Graph::of(op.into())?, inputs)
    }

    /// Outputs of a graph.
    pub(crate) fn run_graph(&self, graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let Some(answers) = &self.answers else { return Ok(graph.run_reference(inputs)?) };
        if let Some(answer) = answers.get(self.launches.replace(self.launches.get() + 1)) {
            return Ok(answer.clone());
        }
        self.asked.replace(Some((graph.clone(), inputs.iter().map(|&input| input.clone()).collect())));
        Err("the device has not answered yet".into())
    }
}

/// The outputs of a case by the reference.
pub(crate) fn on_cpu(case: &Case) -> Result<Vec<Array>> {
    ops::run(case, &Device::default())
}

/// The outputs of a case on the GPU.
pub(crate) async fn on_gpu(case: &Case, context: &Context) -> Result<Vec<Array>> {
    let mut device = Device::asking();
    loop {
        let outcome = ops::run(case, &device);
        let (Err(_), Some((graph, inputs))) = (&outcome, device.asked()) else { return outcome };
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        let answer = plan.run(&inputs.iter().collect::<Vec<_>>()).await;
        plan.destroy();
        device.answer(answer?);
    }
}
