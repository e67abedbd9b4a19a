//! A network that a file describes: a graph whose inputs and outputs have names. `onnx` and `tflite` make them.

use std::fmt;

use crate::error::{Error, Result};
use crate::plan::Graph;
use crate::tensor::TensorType;

/// A graph with the names of its inputs and outputs, made from a file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Network {
    /// The graph.
    pub graph: Graph,
    /// The inputs, in the order of the graph.
    pub inputs: Vec<Port>,
    /// The outputs, in the order of the graph.
    pub outputs: Vec<Port>,
}

/// An input or output of a [`Network`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Port {
    /// Its name in the file.
    pub name: String,
    /// Its type in the graph. Integers of 64 bits are int32 there, and truth values uint8; those that the graph computes are float32.
    pub tensor_type: TensorType,
}

impl Port {
    pub(crate) fn new(name: impl Into<String>, tensor_type: TensorType) -> Self {
        Self { name: name.into(), tensor_type }
    }
}

impl fmt::Display for Port {
    /// The name and the type: `image float32[1, 3, 48, 192]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.tensor_type)
    }
}

/// An axis that may count from the end.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    let found = usize::try_from(from_start).ok().filter(|&axis| axis < rank);
    found.ok_or_else(|| Error::Request(format!("the axis is {axis}, but there are {rank} dimensions")))
}

/// A node that can't be an op.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// The name of the node, or its place.
    pub node: String,
    /// The name of its op in the file.
    pub op: String,
    /// The types of its inputs, as far as they are known.
    pub types: Vec<String>,
    pub reason: String,
}

/// All nodes that can't be ops, as one error; nothing if there are none.
pub(crate) fn refuse_all(file: &str, problems: &[Problem]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let lines = problems
        .iter()
        .map(|Problem { node, op, types, reason }| format!("\n  {node}: {op}({}): {reason}", types.join(", ")));
    let nodes = if problems.len() == 1 { "1 node".into() } else { format!("{} nodes", problems.len()) };
    Err(Error::Request(format!("{nodes} of the {file} can't be ops of a graph:{}", lines.collect::<String>())))
}
