//! Layers of a network, one launch each on most devices. `mod.rs` combines them.

use std::sync::Arc;

use lowbit::ops::{Conv, Fused, Op, Output, Padding, Requantization};
use lowbit::{Graph, Result, Tensor, TensorType, Value};

/// An op, or a convolution and the residual sum that follows.
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) ops: Vec<Op>,
    /// Inputs; a sum's other operand is the last.
    pub(crate) inputs: Vec<Value>,
    pub(crate) output: Value,
    /// The convolution that the first op is built from, if it is one.
    pub(crate) conv: Option<ConvLayer>,
    /// Requantization of the sum, if the layer has one.
    pub(crate) sum: Option<Requantization>,
}

impl Layer {
    /// The layer as one op.
    pub(crate) fn op(&self) -> Result<Op> {
        match &self.ops[..] {
            [first, then] => Ok(Fused::new(first.clone(), then.clone(), 0)?.into()),
            ops => Ok(ops[0].clone()),
        }
    }

    pub(crate) fn output_type(&self) -> TensorType {
        self.ops[self.ops.len() - 1].outputs().swap_remove(0)
    }

    /// Names of the ops.
    pub(crate) fn kind(&self) -> String {
        self.ops.iter().map(Op::name).collect::<Vec<_>>().join(" + ")
    }

    /// The layer as a graph of its own. Planners fuse its ops if the device allows that.
    pub(crate) fn graph(&self) -> Result<Graph> {
        let mut graph = Graph::new();
        let mut inputs = Vec::new();
        for tensor_type in self.ops[0].inputs() {
            inputs.push(graph.input(tensor_type));
        }
        let mut output = graph.add(self.ops[0].clone(), &inputs)?;
        if let Some(then) = self.ops.get(1) {
            let other = graph.input(then.inputs().swap_remove(1));
            output = graph.add(then.clone(), &[output, other])?;
        }
        graph.output(output);
        Ok(graph)
    }
}

/// A convolution over two dimensions.
#[derive(Clone)]
pub(crate) struct ConvLayer {
    pub(crate) lhs: TensorType,
    /// int8 `[outputs, kernel, kernel, channels / groups]`
    pub(crate) weights: Arc<Tensor>,
    /// int32 `[outputs]`
    pub(crate) bias: Arc<Tensor>,
    pub(crate) stride: usize,
    /// Rows and columns of padding.
    pub(crate) begin: [usize; 2],
    pub(crate) end: [usize; 2],
    pub(crate) groups: usize,
    /// Rows and columns of the output, if the convolution is transposed.
    pub(crate) spread: Option<[usize; 2]>,
    pub(crate) output: Output,
}

impl ConvLayer {
    pub(crate) fn op(&self) -> Result<Conv> {
        let conv = Conv::new(self.lhs.clone(), self.weights.clone())
            .stride([self.stride; 2])
            .padding(Padding::Explicit { begin: self.begin.to_vec(), end: self.end.to_vec() })
            .groups(self.groups)
            .bias(self.bias.clone())
            .output(self.output.clone());
        match self.spread {
            Some(size) => conv.transposed().output_size(size),
            None => conv,
        }
        .build()
    }
}
