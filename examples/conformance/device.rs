//! Where ops run: on a GPU or on the CPU reference, behind one call. Which ops are run is decided in `ops`.

use lowbit::ops::Op;
use lowbit::{Context, Graph, Tensor, Tuner, reference};

use crate::Result;

/// A place to compute.
#[derive(Debug)]
pub(crate) enum Device {
    Cpu,
    Gpu(Context),
}

impl Device {
    /// The results of an op.
    pub(crate) fn run(&self, op: impl Into<Op>, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(match self {
            Self::Cpu => reference::run(&op.into(), inputs)?,
            Self::Gpu(context) => context.run(&op.into(), inputs)?,
        })
    }

    /// The results of a graph.
    pub(crate) fn run_graph(&self, graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(match self {
            Self::Cpu => graph.run_reference(inputs)?,
            Self::Gpu(context) => context.plan(graph, Tuner::FirstGuess)?.run(inputs)?,
        })
    }

    /// Its name, for people.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Cpu => "CPU reference".to_string(),
            Self::Gpu(context) => context.description(),
        }
    }
}
