//! Permutation of the axes of a tensor. The meaning is `reference/transpose.rs`, the GPU programs are `kernels/layout/rearrange.rs`.

use super::{OpDef, check_moved};
use crate::error::Result;
use crate::tensor::TensorType;

/// `out[i_0, i_1, …] = x[j_0, j_1, …]` where `j_{order[d]} = i_d`: axis `d` of the output is axis `order[d]` of the input
///
/// * Elements of any data type but [`DType::Parameters`](crate::DType::Parameters), up to 8 dimensions. Bits are copied unchanged,
///   including NaNs.
/// * Scales per tensor stay. Scales along an axis move with it.
/// * NCHW becomes NHWC by `[0, 2, 3, 1]`, NHWC becomes NCHW by `[0, 3, 1, 2]`.
///
/// Source: ONNX Transpose.
///
/// ```
/// use lowbit::{Tensor, ops::Transpose, reference};
/// let nchw = Tensor::new([1, 2, 1, 3], vec![1u8, 2, 3, 4, 5, 6])?;
/// let op = Transpose::new(nchw.tensor_type().clone(), [0, 2, 3, 1])?;
/// let nhwc = reference::run(&op.into(), &[&nchw])?.remove(0);
/// assert_eq!(nhwc.dims(), [1, 1, 3, 2]);
/// assert_eq!(nhwc.values::<u8>()?, [1, 4, 2, 5, 3, 6]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Transpose {
    input: TensorType,
    order: Vec<usize>,
    output: TensorType,
}

impl Transpose {
    /// The transposition that puts the input's axes in this order.
    ///
    /// # Errors
    /// If `order` is not a permutation of the axes, or the scales are in blocks.
    pub fn new(input: TensorType, order: impl Into<Vec<usize>>) -> Result<Self> {
        check_moved(&input)?;
        let order = order.into();
        let output = input.permuted(&order)?;
        Ok(Self { input, order, output })
    }

    /// True if the first axis stays first.
    pub(super) fn keeps_rows(&self) -> bool {
        self.order.first() == Some(&0)
    }

    /// The input's axis for each axis of the output.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }
}

impl OpDef for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), &self.order[..])
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        self.keeps_rows().then(|| vec![true])
    }
}
