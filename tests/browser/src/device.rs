//! The device of conformance cases.

use lowbit::ops::Op;
use lowbit::{Context, Graph, Tensor, reference};

use crate::Result;
use crate::common::{BlockingContext as _, BlockingPlan as _};

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
            Self::Gpu(context) => context.plan(graph, lowbit::Tuner::FirstGuess)?.run_blocking(inputs)?,
        })
    }
}
