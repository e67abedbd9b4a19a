//! Sums, means, norms and extremes along axes of real numbers. The meaning is `reference/reduce.rs`, the GPU program is
//! `kernels/elementwise/reduce.rs`.

use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::tensor::TensorType;

/// The number that a [`Reduce`] makes of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reduction {
    /// `Σ x`.
    Sum,
    /// `Σ x / n`.
    Mean,
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// `Σ |x|`.
    L1,
    /// `√Σ x²`.
    L2,
}

/// `out[…, 0, …] = reduction_i x[…, i, …]` along any axes of a float32 tensor, each of which is one element of the output
///
/// [`Graph::reshape`](crate::Graph::reshape) removes these dimensions for nothing. Sums are in any order. With u = 2⁻²³, n numbers
/// that are reduced to one, and N = e^(n · u) - 1, which is about n · u, the error of a result y is at most
///
/// ```text
/// max, min     0
/// sum, l1      N · Σ |x|
/// mean         N · Σ |x| / n + 4 · u · |y|
/// l2           that of a root of Σ x² · (1 ± (N + u)), and 5 · u · y
/// ```
///
/// Numbers and squares below 2⁻¹²⁶ may count as zero. Results for NaN and infinity, and sums of magnitudes or squares beyond
/// float32, are device-specific, because WGSL leaves them open. Source: ONNX ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceL1
/// and ReduceL2 with `keepdims = 1`.
///
/// ```
/// use lowbit::ops::{Reduce, Reduction};
/// use lowbit::{Tensor, reference};
/// let x = Tensor::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// let op = Reduce::new(x.tensor_type().clone(), [0], Reduction::Mean)?;
/// let mean = reference::run(&op.into(), &[&x])?.remove(0);
/// assert_eq!((mean.dims(), mean.values::<f32>()?), (&[1, 2][..], &[2.0, 3.0][..]));
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reduce {
    pub(crate) input: TensorType,
    pub(crate) output: TensorType,
    pub(crate) reduction: Reduction,
    /// For each axis, true if it is reduced.
    pub(crate) reduced: Vec<bool>,
}

impl Reduce {
    /// The reduction of these axes of tensors of type `input`.
    ///
    /// # Errors
    /// If the input is not float32, no axis is given or one is given twice or doesn't exist, or a reduced axis has no elements.
    pub fn new(input: TensorType, axes: impl Into<Vec<usize>>, reduction: Reduction) -> Result<Self> {
        require_float32("reduce", "the input", &input)?;
        let (axes, mut dims) = (axes.into(), input.dims().to_vec());
        let mut reduced = vec![false; dims.len()];
        require!(!axes.is_empty(), "no axis of {input} was given to be reduced: name all of them to get one number");
        for axis in axes {
            require!(axis < dims.len(), "axis {axis} of {input} is to be reduced, which has {} axes", dims.len());
            require!(!reduced[axis], "axis {axis} of {input} is to be reduced twice");
            require!(dims[axis] > 0, "axis {axis} of {input} has no elements to be reduced");
            (reduced[axis], dims[axis]) = (true, 1);
        }
        let output = TensorType::float32(dims)?;
        Ok(Self { input, output, reduction, reduced })
    }

    fn axes(&self) -> Vec<usize> {
        (0..self.reduced.len()).filter(|&axis| self.reduced[axis]).collect()
    }

    /// The numbers that are reduced to one.
    pub(crate) fn count(&self) -> usize {
        self.axes().iter().map(|&axis| self.input.dims()[axis]).product()
    }
}

impl OpDef for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), self.axes(), self.reduction)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (!self.reduced[0]).then(|| vec![true])
    }
}
