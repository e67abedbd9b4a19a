//! Sums of float32 numbers that share a range, for example the gradient of a bias. The meaning is `reference/sum.rs`, the GPU
//! programs are `kernels/train/sum.rs`.

use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, TensorType};

/// `out[k] = Σ` of the elements of a float32 tensor that share index k of a granularity: for example the gradient of a bias, with
/// [`Granularity::Axis`] of the channels.
///
/// Sums are f32 in a device-specific order. Each sum of n terms lies within `(min(n, 8192 + n / 8192) + 4) · 2^-22 · Σ |terms|` of
/// the true one, plus the loss from subnormal terms. There is no bound if `Σ |terms|` leaves float32.
///
/// ```
/// use lowbit::{Granularity, Tensor, ops::Sum, reference};
/// let x = Tensor::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// let op = Sum::new(x.tensor_type().clone(), Granularity::Axis(1))?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [4.0, 6.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sum {
    pub(crate) input: TensorType,
    pub(crate) output: TensorType,
    pub(crate) granularity: Granularity,
}

impl Sum {
    /// The sums of tensors of type `input`.
    ///
    /// # Errors
    /// If the input is not float32, or the granularity doesn't fit it.
    pub fn new(input: TensorType, granularity: Granularity) -> Result<Self> {
        require_float32("sum", "the input", &input)?;
        let output = TensorType::new(DType::Float32, [granularity.parameters(input.shape())?])?;
        Ok(Self { input, output, granularity })
    }
}

impl OpDef for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let resized = Self::new(inputs[0].clone(), self.granularity)?;
        require!(
            resized.output == self.output,
            "{} has {} sums, but the op was made for {}: they don't follow a batch",
            resized.input,
            resized.output,
            self.output
        );
        Ok(resized)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
