//! Elements of one of two tensors, by a condition. The meaning is `reference/select.rs`, the GPU program is
//! `kernels/elementwise/select.rs`.

use super::{OpDef, rows_of_broadcast};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// `out = condition ? a : b`, elementwise with NumPy broadcasting of all three: a mask, or one of two branches. Source: ONNX Where.
///
/// * `condition`: float32 as comparisons of [`FloatBinary`](super::FloatBinary) make it, or int8 or uint8 codes. Any number but 0, and
///   any code but 0, is true, NaN and subnormal numbers too.
/// * `a`, `b`: both float32, or both int32.
///
/// Every bit is kept.
///
/// ```
/// use lowbit::{Tensor, ops::Select, reference};
/// let condition = Tensor::new([2, 1], vec![1u8, 0])?;
/// let (a, b) = (Tensor::new([2], vec![1.0f32, 2.0])?, Tensor::new([1], vec![-1.0f32])?);
/// let op = Select::new(condition.tensor_type().clone(), a.tensor_type().clone(), b.tensor_type().clone())?;
/// assert_eq!(reference::run(&op.into(), &[&condition, &a, &b])?[0].values::<f32>()?, [1.0, 2.0, -1.0, -1.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Select {
    pub(crate) condition: TensorType,
    pub(crate) a: TensorType,
    pub(crate) b: TensorType,
    pub(crate) output: TensorType,
}

impl Select {
    /// The choice between tensors of types `a` and `b`.
    ///
    /// # Errors
    /// If the condition is neither float32, int8 nor uint8, the others are not both float32 or both int32, or the shapes don't
    /// broadcast.
    pub fn new(condition: TensorType, a: TensorType, b: TensorType) -> Result<Self> {
        require!(
            matches!(condition.dtype(), DType::Float32 | DType::Int8 | DType::Uint8),
            "the condition is {condition}, but select takes float32, int8 or uint8: put a Cast before it"
        );
        for (name, operand) in [("a", &a), ("b", &b)] {
            require!(
                matches!(operand.dtype(), DType::Float32 | DType::Int32),
                "{name} is {operand}, but select takes float32 or int32: put a Dequantize or Cast before it"
            );
        }
        require!(a.dtype() == b.dtype(), "a is {a} and b is {b}, but select takes two of one data type: cast one");
        let shape = condition.shape().broadcast(&a.shape().broadcast(b.shape())?)?;
        let output = TensorType::new(a.dtype(), shape.dims())?;
        Ok(Self { condition, a, b, output })
    }
}

impl OpDef for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.condition.clone(), self.a.clone(), self.b.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), inputs[1].clone(), inputs[2].clone())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(rows_of_broadcast(&self.inputs(), &self.output))
    }
}
