//! The gradient of the cross-entropy loss of classifiers. The meaning is `reference/cross_entropy.rs`, the GPU program is
//! `kernels/train/cross_entropy.rs`.

use super::{OpDef, require_float32};
use crate::error::{Result, refuse, require};
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
/// let op = CrossEntropyGradient::new(logits.tensor_type().clone())?;
/// assert_eq!(reference::run(&op.into(), &[&logits, &labels])?[0].values::<f32>()?, [-0.25, 0.25, 0.0, 0.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CrossEntropyGradient {
    pub(crate) logits: TensorType,
    pub(crate) labels: TensorType,
}

impl CrossEntropyGradient {
    /// The gradient for logits of this type, float32 `[rows, classes]`. The labels are int32 `[rows]`.
    ///
    /// # Errors
    /// If the logits are not float32 with two dimensions, or there is no class.
    pub fn new(logits: TensorType) -> Result<Self> {
        require_float32("cross_entropy_gradient", "the logits", &logits)?;
        let [rows, classes] = logits.dims() else {
            refuse!(
                "the logits are {logits} with {} dimensions, but they must be [rows, classes]: reshape them",
                logits.shape().rank()
            );
        };
        require!(*classes > 0, "logits of 0 classes have no softmax");
        Ok(Self { labels: TensorType::new(DType::Int32, [*rows])?, logits })
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
        Self::new(inputs[0].clone())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
