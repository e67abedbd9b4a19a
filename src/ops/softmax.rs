//! Softmax over the rows of a tensor. The meaning is `reference/softmax.rs`, the GPU program is `kernels/elementwise/softmax.rs`.

use super::OpDef;
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// `out[…, i] = e^(scale · x[…, i]) / Σ_j e^(scale · x[…, j])`, over the last dimension of a float32 tensor.
///
/// The scale is 1 by default ([`scaled`](Self::scaled) sets it). To mask elements (in attention), first add a large negative number
/// to them, −10,000 for example: their share is 0. Source: ONNX Softmax.
///
/// Exponentials are the device's. Let u = 2⁻²³, d_i = scale · (max x − x_i), D the mean of min(d_j, 128) weighted by the shares,
/// and n the number of elements. The error of a share s is at most
///
/// ```text
/// 1.25 · u · (n + 4 · min(d_i, 128) + 4 · D + 16) · s + 2⁻¹²⁰
/// ```
///
/// if the elements are finite. Elements and differences below 2⁻¹²⁶ may count as zero, which matters only for scales above 10³⁰.
/// There is no bound for scales above 2 · 10³⁸, or for scales below 10⁻³⁶ if the differences of a row leave float32. Results for
/// NaN and infinity are device-specific, because WGSL leaves them open.
///
/// ```
/// use lowbit::{Tensor, ops::Softmax, reference};
/// let x = Tensor::new([2, 2], vec![3.0f32, 3.0, 0.0, -10_000.0])?;
/// let op = Softmax::new([2, 2])?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [0.5, 0.5, 1.0, 0.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Softmax {
    pub(crate) tensor_type: TensorType,
    pub(crate) scale: f32,
}

impl Softmax {
    /// The softmax over the rows of tensors with these dimensions.
    ///
    /// # Errors
    /// If there are too many elements for a tensor, or there is no dimension.
    pub fn new(dims: impl Into<Vec<usize>>) -> Result<Self> {
        let tensor_type = TensorType::new(DType::Float32, dims)?;
        require!(tensor_type.shape().rank() > 0, "a scalar has no row to have a share in: reshape it to [1]");
        Ok(Self { tensor_type, scale: 1.0 })
    }

    /// This softmax with elements multiplied by a scale first: 1 / √width for attention.
    ///
    /// # Errors
    /// If the scale is not positive and finite.
    pub fn scaled(mut self, scale: f32) -> Result<Self> {
        require!(scale.is_normal() && scale > 0.0, "the scale is {scale:e}, but it must be finite and positive");
        self.scale = scale;
        Ok(self)
    }
}

impl OpDef for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.tensor_type.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.tensor_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].dims())?.scaled(self.scale)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.inputs()[0].shape().rank() > 1).then(|| vec![true])
    }
}
