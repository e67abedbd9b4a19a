//! The device that runs ops, a GPU or the CPU reference, behind one call. `ops` decides which ops are run.

use lowbit::ops::Op;
use lowbit::{Context, Graph, Tensor, Tuner, reference};

use crate::Result;

/// A device that runs ops.
#[derive(Debug)]
pub(crate) enum Device {
    Cpu,
    Gpu(Context),
}

impl Device {
    /// Outputs of an op.
    pub(crate) fn run(&self, op: impl Into<Op>, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(match self {
            Self::Cpu => reference::run(&op.into(), inputs)?,
            Self::Gpu(context) => context.run_blocking(&op.into(), inputs)?,
        })
    }

    /// Outputs of a graph.
    pub(crate) fn run_graph(&self, graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(match self {
            Self::Cpu => graph.run_reference(inputs)?,
            Self::Gpu(context) => context.plan(graph, Tuner::FirstGuess)?.run_blocking(inputs)?,
        })
    }

    /// Name for messages.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Cpu => "CPU reference".to_string(),
            Self::Gpu(context) => context.description(),
        }
    }
}
