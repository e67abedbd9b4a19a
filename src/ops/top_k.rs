//! The greatest elements of each row. The meaning is `reference/top_k.rs`, the GPU programs are `kernels/elementwise/top_k.rs`.

use super::OpDef;
use super::arg_max::check_ordered;
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// The k greatest (or least) elements of each row, sorted, and their indices along the last dimension
///
/// ```text
/// values[…, r] = x[…, indices[…, r]], where indices[…, 0], indices[…, 1], … are 0 … n − 1 in the order of their elements
/// ```
///
/// * `x`: float32, float16, int32, int8 or uint8 `[…, n]`. Codes are compared as integers: their scale is positive, so that the
///   order of the real numbers is the same. They may have scales and zero points that all elements of a row share.
/// * Outputs: the elements `[…, k]`, of the type and scales of `x` and with unchanged bits; then their indices, int32 `[…, k]`.
///   k is 1 to n.
///
/// The greatest element comes first; with [`least`](TopKBuilder::least) the least one. Of equal elements the one with the least
/// index comes first, in both orders. It is exact. −0 equals 0, and NaN counts as greater than every number, as in
/// [`ArgMax`](super::ArgMax): NaN comes first, and with `least` last. Source: ONNX TopK with `axis = -1` and `sorted = 1`, which
/// says nothing of NaN.
///
/// ```
/// use lowbit::{Tensor, ops::TopK, reference};
/// let x = Tensor::new([2, 4], vec![1.0f32, 5.0, 5.0, 2.0, -1.0, -2.0, -3.0, 0.0])?;
/// let op = TopK::new(x.tensor_type().clone(), 2).build()?;
/// let outputs = reference::run(&op.into(), &[&x])?;
/// assert_eq!(outputs[0].values::<f32>()?, [5.0, 5.0, 0.0, -1.0]);
/// assert_eq!(outputs[1].values::<i32>()?, [1, 2, 3, 0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TopK {
    input: TensorType,
    k: usize,
    least: bool,
    values: TensorType,
    indices: TensorType,
}

/// Describes a [`TopK`]; made by [`TopK::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TopKBuilder {
    input: TensorType,
    k: usize,
    least: bool,
}

impl TopK {
    /// A builder for the k greatest elements in the rows of tensors of this type.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(input: TensorType, k: usize) -> TopKBuilder {
        TopKBuilder { input, k, least: false }
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// True if the least elements are found.
    pub(crate) fn is_least(&self) -> bool {
        self.least
    }

    pub(crate) fn values(&self) -> &TensorType {
        &self.values
    }

    pub(crate) fn indices(&self) -> &TensorType {
        &self.indices
    }
}

impl TopKBuilder {
    /// Finds the least elements, the least one first.
    pub fn least(mut self) -> Self {
        self.least = true;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the format is none of the five, the tensor is a scalar, k is not in 1 … n, or scales differ along the last dimension.
    pub fn build(self) -> Result<TopK> {
        let Self { input, k, least } = self;
        check_ordered(&input)?;
        let n = input.shape().row_length();
        require!((1..=n).contains(&k), "k is {k}, but rows of {input} have {n} elements: give 1 to {n}");
        let mut dims = input.dims().to_vec();
        *dims.last_mut().expect("it has a last dimension") = k;
        let mut values = TensorType::new(input.dtype(), &dims[..])?;
        if let Some(quantization) = input.quantization() {
            values = values.quantized(quantization.clone())?;
        }
        if input.has_dynamic_scales() {
            values = values.with_dynamic_scales();
        }
        let indices = TensorType::new(DType::Int32, dims)?;
        Ok(TopK { input, k, least, values, indices })
    }
}

impl OpDef for TopK {
    fn name(&self) -> &'static str {
        "top_k"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.values.clone(), self.indices.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        TopKBuilder { input: inputs[0].clone(), k: self.k, least: self.least }.build()
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.input.shape().rank() > 1).then(|| vec![true])
    }
}
