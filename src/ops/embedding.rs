//! Lookup of rows of quantized weights. The meaning is `reference/embedding.rs`, the GPU programs are
//! `kernels/grouped/embedding.rs`. The storage of weights is described in `weights`.

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
/// * `weights`: [`PackedWeights`], one matrix. If they are [`bound`](PackedWeights::bound), their words are the second input.
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
/// let op = Embedding::new(tokens.tensor_type().clone(), table).build()?;
/// assert_eq!(reference::run(&op.into(), &[&tokens])?[0].values::<f32>()?, [1.0, 1.0, 0.0, 0.0, 0.5, 0.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Embedding {
    indices: TensorType,
    weights: Arc<PackedWeights>,
    output_type: TensorType,
}

/// Describes an [`Embedding`]; made by [`Embedding::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct EmbeddingBuilder {
    indices: TensorType,
    weights: Arc<PackedWeights>,
    output: DType,
}

impl EmbeddingBuilder {
    /// The data type of the output: float32 or float16.
    pub fn output(mut self, dtype: DType) -> Self {
        self.output = dtype;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the indices are not int32, the weights are several matrices, the output is not float32 or float16, or it has more elements
    /// than a tensor holds.
    pub fn build(self) -> Result<Embedding> {
        let Self { indices, weights, output } = self;
        require!(
            indices.dtype() == DType::Int32,
            "the indices are {indices}, but embedding takes int32: give TensorType::int32"
        );
        let [matrices, _, k] = weights.dims();
        require!(matrices == 1, "the weights are {matrices} matrices, but an embedding takes the rows of one");
        require!(
            matches!(output, DType::Float32 | DType::Float16),
            "an embedding makes float32 or float16, but {output} was asked for"
        );
        let output_type = TensorType::new(output, [indices.dims(), &[k]].concat())?;
        Ok(Embedding { indices: indices.without_scales(), weights, output_type })
    }
}

impl Embedding {
    /// A builder for the rows selected by int32 indices of this type, in float32.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(indices: TensorType, weights: impl Into<Arc<PackedWeights>>) -> EmbeddingBuilder {
        EmbeddingBuilder { indices, weights: weights.into(), output: DType::Float32 }
    }

    pub(crate) fn weights(&self) -> &Arc<PackedWeights> {
        &self.weights
    }

    /// The index of the input that has the words of the weights, if they are bound.
    pub(crate) fn words_input(&self) -> Option<usize> {
        self.weights.input_type().map(|_| 1)
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
        [Some(self.indices.clone()), self.weights.input_type()].into_iter().flatten().collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), self.weights.clone()).output(self.output_type.dtype()).build()
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some((0..self.inputs().len()).map(|input| input == 0).collect())
    }
}
