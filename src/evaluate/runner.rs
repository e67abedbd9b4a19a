//! Runs the compared graphs: on a device, or on the CPU reference.

use std::fmt;

use crate::error::Result;
use crate::gpu::{Context, Plan};
use crate::plan::Graph;
use crate::tensor::Tensor;
use crate::tune::Tuner;

/// The device that a graph runs on.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Device<'a> {
    /// The CPU reference.
    Cpu,
    /// A GPU.
    Gpu(&'a Context),
}

impl fmt::Display for Device<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("the CPU reference"),
            Self::Gpu(context) => f.write_str(&context.description()),
        }
    }
}

/// A graph on a device, ready to run many times.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a program has few")]
pub enum Runner {
    /// A graph for the CPU reference.
    Cpu(Graph),
    /// A plan for a GPU.
    Gpu(Box<Plan>),
}

impl Runner {
    /// The graph on the device.
    ///
    /// # Errors
    /// If the graph can't be planned.
    pub fn new(device: Device<'_>, graph: Graph) -> Result<Self> {
        Ok(match device {
            Device::Cpu => Self::Cpu(graph),
            Device::Gpu(context) => Self::Gpu(Box::new(context.plan(&graph, Tuner::FirstGuess)?)),
        })
    }

    /// The graph's outputs.
    ///
    /// # Errors
    /// If the inputs don't fit, or the device fails.
    pub fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        match self {
            Self::Cpu(graph) => graph.run_reference(inputs),
            Self::Gpu(plan) => plan.run_blocking(inputs),
        }
    }
}
