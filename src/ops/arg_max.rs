//! The place of the greatest element of each row. The meaning is `reference/arg_max.rs`, the GPU program is
//! `kernels/elementwise/arg_max.rs`.

use super::OpDef;
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, TensorType};

/// `out[…] = min { i : x[…, i] = max_j x[…, j] }`: the index of the first greatest element along the last dimension.
///
/// * `x`: float32, float16, int32, int8 or uint8 `[…, n]` with n of at least 1. Codes are compared as integers: their scale is positive,
///   so that the order of the real numbers is the same. They may have scales and zero points that all elements of a row share.
/// * Output: int32, the dimensions of `x` without the last one.
///
/// It is exact. −0 equals 0. NaN counts as greater than every number, so that the first NaN is the result, as in NumPy and PyTorch.
/// [`TopK`](super::TopK) finds more than one element.
/// Source: ONNX ArgMax with `axis = -1`, `keepdims = 0` and `select_last_index = 0`.
///
/// ```
/// use lowbit::{Tensor, ops::ArgMax, reference};
/// let x = Tensor::new([2, 3], vec![1.0f32, 5.0, 5.0, -1.0, -2.0, -3.0])?;
/// let op = ArgMax::new(x.tensor_type().clone())?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<i32>()?, [1, 0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ArgMax {
    input: TensorType,
    output: TensorType,
}

impl ArgMax {
    /// The places of the greatest elements in the rows of tensors of this type.
    ///
    /// # Errors
    /// If the format is none of the five, the tensor is a scalar, its rows are empty, or scales differ along the last dimension.
    pub fn new(input: TensorType) -> Result<Self> {
        check_ordered(&input)?;
        let outer = &input.dims()[..input.shape().rank() - 1];
        let output = TensorType::new(DType::Int32, outer)?;
        Ok(Self { input, output })
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }
}

impl OpDef for ArgMax {
    fn name(&self) -> &'static str {
        "arg_max"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.input.shape().rank() > 1).then(|| vec![true])
    }
}

/// Refuses tensors whose rows have no greatest element, or whose elements are in no order.
pub(super) fn check_ordered(input: &TensorType) -> Result<()> {
    require!(
        matches!(input.dtype(), DType::Float32 | DType::Float16 | DType::Int32 | DType::Int8 | DType::Uint8),
        "{input} can't be searched for its greatest elements: cast it to float32, float16, int32, int8 or uint8"
    );
    require!(input.shape().rank() > 0, "a scalar has no row: reshape it to [1]");
    require!(input.shape().row_length() > 0, "{input} has rows without elements, in which nothing is the greatest");
    if let Some(quantization) = input.quantization() {
        let last = input.shape().rank() - 1;
        let differs = match quantization.granularity() {
            Granularity::Tensor => false,
            Granularity::Axis(axis) | Granularity::Blocks { axis, .. } => axis == last,
        };
        require!(!differs, "{input} has scales that differ along the last dimension: dequantize it first");
    }
    Ok(())
}
