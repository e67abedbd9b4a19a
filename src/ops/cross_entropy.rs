//! The gradient of the cross-entropy loss of classifiers. The meaning is `reference/cross_entropy.rs`, the GPU program is
//! `kernels/train/cross_entropy.rs`.

use super::OpDef;
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// `out[r, c] = (softmax(logits[r])[c] − (c = label[r])) / rows`: the gradient of the mean cross-entropy of float32 logits
/// `[rows, classes]` with int32 labels `[rows]`. A row whose label is not a class has gradient 0, but counts in `rows`.
///
/// Exponentials are the device's. With d the largest minus the least logit of a row, each softmax s of the row lies within
/// `(classes + 4 · d + 24) · 2^-22 · s + 2^-120` of the true one if the logits are finite.
///
/// ```
/// use lowbit::{Tensor, ops::CrossEntropyGradient, reference};
/// let logits = Tensor::new([2, 2], vec![1.0f32, 1.0, 50.0, 0.0])?;
/// let labels = Tensor::new([2], vec![0i32, -1])?;
/// let op = CrossEntropyGradient::new(2, 2)?;
/// assert_eq!(reference::run(&op.into(), &[&logits, &labels])?[0].values::<f32>()?, [-0.25, 0.25, 0.0, 0.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CrossEntropyGradient {
    pub(crate) logits: TensorType,
    pub(crate) labels: TensorType,
}

impl CrossEntropyGradient {
    /// The gradient for this number of rows and classes.
    ///
    /// # Errors
    /// If there is no class, or too many elements for a tensor.
    pub fn new(rows: usize, classes: usize) -> Result<Self> {
        require!(classes > 0, "logits of 0 classes have no softmax");
        let logits = TensorType::new(DType::Float32, [rows, classes])?;
        Ok(Self { logits, labels: TensorType::new(DType::Int32, [rows])? })
    }
}

impl OpDef for CrossEntropyGradient {
    fn name(&self) -> &'static str {
        "cross_entropy_gradient"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.logits.clone(), self.labels.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.logits.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].dims()[0], self.logits.dims()[1])
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
