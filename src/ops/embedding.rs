//! Lookup of rows of quantized weights. The meaning is `reference/embedding.rs`, the GPU programs are `kernels/grouped/embedding.rs`. The
//! storage of weights is described in `weights`.

use std::sync::Arc;

use super::OpDef;
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;
use crate::weights::PackedWeights;

/// `out[…, l] = scale · (code[j, l] − zero)` or `scale · code[j, l] + offset`, `j = indices[…]`: selected rows of quantized weights
/// as real numbers (a token embedding; over all rows in order, dequantization).
///
/// * `indices`: int32, any shape. An index outside the rows gives zeros.
/// * Output: the shape of the indices with k appended, in float32 or float16.
///
/// Each operation is one correctly rounded f32 operation, with equal bits on every device; float16 output is rounded once more.
///
/// Sources: ONNX Gather with DequantizeLinear, com.microsoft GatherBlockQuantized, ggml's get_rows.
///
/// ```
/// use lowbit::weights::{Codes, GroupParams, ScaleFormat, WeightFormat, PackedWeights};
/// use lowbit::{Tensor, ops::Embedding, reference};
/// let format = WeightFormat::new(Codes::INT4, usize::MAX, ScaleFormat::F32);
/// let table = PackedWeights::build(format, [1, 3, 2], |row, codes, groups, _| {
///     codes.fill(row as i8);
///     groups.fill(GroupParams::scale(0.5));
///     Ok(())
/// })?;
/// let tokens = Tensor::new([3], vec![2, 0, 1])?;
/// let op = Embedding::new([3], table)?;
/// assert_eq!(reference::run(&op.into(), &[&tokens])?[0].values::<f32>()?, [1.0, 1.0, 0.0, 0.0, 0.5, 0.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Embedding {
    indices: TensorType,
    weights: Arc<PackedWeights>,
    output_type: TensorType,
}

impl Embedding {
    /// The rows selected by indices of this shape, in float32.
    ///
    /// # Errors
    /// If the weights are several matrices, or the output has more elements than a tensor holds.
    pub fn new(dims: impl Into<Vec<usize>>, weights: impl Into<Arc<PackedWeights>>) -> Result<Self> {
        let (indices, weights) = (TensorType::new(DType::Int32, dims)?, weights.into());
        let matrices = weights.dims()[0];
        require!(matrices == 1, "the weights are {matrices} matrices, but an embedding takes the rows of one");
        let output_type = Self::type_of(&indices, &weights, DType::Float32)?;
        Ok(Self { indices, weights, output_type })
    }

    /// This embedding with output of this data type.
    ///
    /// # Errors
    /// If the data type is not float32 or float16.
    pub fn output(self, dtype: DType) -> Result<Self> {
        require!(
            matches!(dtype, DType::Float32 | DType::Float16),
            "an embedding makes float32 or float16, but {dtype} was asked for"
        );
        Ok(Self { output_type: Self::type_of(&self.indices, &self.weights, dtype)?, ..self })
    }

    fn type_of(indices: &TensorType, weights: &PackedWeights, dtype: DType) -> Result<TensorType> {
        let k = weights.dims()[2];
        TensorType::new(dtype, indices.dims().iter().copied().chain([k]).collect::<Vec<_>>())
    }

    pub(crate) fn weights(&self) -> &Arc<PackedWeights> {
        &self.weights
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }
}

impl OpDef for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.indices.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].dims(), self.weights.clone())?.output(self.output_type.dtype())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}
