//! Reshape of packed codes whose rows must be repacked. The meaning is `reference/reshape.rs`, the GPU program is
//! `kernels/layout/reshape.rs`. If no element moves, `Graph::reshape` is free.

use super::{OpDef, check_moved};
use crate::error::{Result, refuse};
use crate::tensor::{TensorType, reshaped};

/// The elements of `x`, in row-major order, with other dimensions
///
/// Rows of data types below 32 bits are padded in device memory, so another last dimension moves elements. Any data type but
/// [`DType::Parameters`](crate::DType::Parameters). Scales per tensor stay. Scales along the last axis also stay, if its extent
/// stays. [`Graph::reshape`](crate::Graph::reshape) costs nothing, if it is possible. Source: ONNX Reshape.
///
/// ```
/// use lowbit::{Tensor, ops::Reshape, reference};
/// let x = Tensor::new([2, 6], (1..=12u8).collect::<Vec<_>>())?;
/// let op = Reshape::new(x.tensor_type().clone(), [4, 3])?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0], x.reshaped([4, 3])?);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reshape {
    input: TensorType,
    output: TensorType,
}

impl Reshape {
    /// A reshape of tensors of type `input` to these dimensions.
    ///
    /// # Errors
    /// If the number of elements differs, or the scales don't fit the new dimensions.
    pub fn new(input: TensorType, dims: impl Into<Vec<usize>>) -> Result<Self> {
        check_moved(&input)?;
        let output = input.reshaped(dims)?;
        Ok(Self { input, output })
    }

    /// True if each index of the first dimension keeps its elements.
    pub(super) fn keeps_rows(&self) -> bool {
        let inner = |t: &TensorType| t.dims().iter().skip(1).product::<usize>();
        let (input, output) = (self.input.dims().first(), self.output.dims().first());
        input.is_some() && input == output && inner(&self.input) == inner(&self.output)
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }
}

impl OpDef for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let Some(dims) = reshaped(self.input.dims(), self.output.dims(), inputs[0].dims()) else {
            refuse!(
                "{} becomes {}, where no dimension is that which changes to make {}",
                self.input,
                self.output,
                inputs[0]
            );
        };
        Self::new(inputs[0].clone(), dims)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        self.keeps_rows().then(|| vec![true])
    }
}
