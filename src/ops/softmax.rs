//! Softmax over the rows of a tensor. The meaning is `reference/softmax.rs`, the GPU program is `kernels/elementwise/softmax.rs`.

use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::tensor::TensorType;

/// `out[…, i] = e^(scale · x[…, i]) / Σ_j e^(scale · x[…, j])`, over the last dimension of a float32 tensor.
///
/// The scale is 1 by default ([`scaled`](SoftmaxBuilder::scaled) sets it). To mask elements (in attention), first add a large
/// negative number to them, −10,000 for example: their share is 0. Source: ONNX Softmax.
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
/// let op = Softmax::new(x.tensor_type().clone()).build()?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [0.5, 0.5, 1.0, 0.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Softmax {
    pub(crate) tensor_type: TensorType,
    pub(crate) scale: f32,
}

/// Describes a [`Softmax`]; made by [`Softmax::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SoftmaxBuilder {
    input: TensorType,
    scale: f32,
}

impl Softmax {
    /// A builder for the softmax over the rows of tensors of type `input`.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(input: TensorType) -> SoftmaxBuilder {
        SoftmaxBuilder { input, scale: 1.0 }
    }
}

impl SoftmaxBuilder {
    /// Multiplies elements by a scale first: 1 / √width for attention.
    pub fn scaled(mut self, scale: f32) -> Self {
        self.scale = scale;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the input is not float32 or has no dimension, or the scale is not positive and finite.
    pub fn build(self) -> Result<Softmax> {
        let Self { input, scale } = self;
        require_float32("softmax", "the input", &input)?;
        require!(input.shape().rank() > 0, "a scalar has no row to have a share in: reshape it to [1]");
        require!(scale.is_normal() && scale > 0.0, "the scale is {scale:e}, but it must be finite and positive");
        Ok(Softmax { tensor_type: input, scale })
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
        Self::new(inputs[0].clone()).scaled(self.scale).build()
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.inputs()[0].shape().rank() > 1).then(|| vec![true])
    }
}
