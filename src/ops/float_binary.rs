//! Elementwise sums and products of real numbers. The meaning is `reference/float_binary.rs`, the GPU programs are
//! `kernels/elementwise/float_binary.rs`. Sums and products of codes are in `binary`.

use super::{OpDef, rows_of_broadcast};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// The operation of a [`FloatBinary`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arithmetic {
    /// `a + b`.
    Add,
    /// `a · b`.
    Multiply,
}

/// `out = a + b` or `out = a · b`, elementwise with NumPy broadcasting, of float32 tensors: a residual, an attention mask, or the
/// gate of a layer.
///
/// A device may return either neighbour of the exact result, so the relative error is at most 2⁻²³. Numbers below 2⁻¹²⁶ may count
/// as zero. Results beyond float32, NaN and infinity are device-specific, because WGSL leaves them open.
///
/// ```
/// use lowbit::ops::{Arithmetic, FloatBinary};
/// use lowbit::{Tensor, reference};
/// let a = Tensor::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// let b = Tensor::new([2], vec![10.0f32, 20.0])?;
/// let op = FloatBinary::new(a.tensor_type().clone(), b.tensor_type().clone(), Arithmetic::Add)?;
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<f32>()?, [11.0, 22.0, 13.0, 24.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FloatBinary {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) lhs: TensorType,
    pub(crate) rhs: TensorType,
    pub(crate) output: TensorType,
}

impl FloatBinary {
    /// The sum or product of tensors of these types.
    ///
    /// # Errors
    /// If an operand is not float32, or the shapes don't broadcast.
    pub fn new(lhs: TensorType, rhs: TensorType, arithmetic: Arithmetic) -> Result<Self> {
        for (name, operand) in [("lhs", &lhs), ("rhs", &rhs)] {
            require!(
                operand.dtype() == DType::Float32,
                "{name} is {operand}, but FloatBinary takes float32: use Add or Multiply for codes"
            );
        }
        let output = TensorType::new(DType::Float32, lhs.shape().broadcast(rhs.shape())?.dims())?;
        Ok(Self { arithmetic, lhs, rhs, output })
    }
}

impl OpDef for FloatBinary {
    fn name(&self) -> &'static str {
        "float_binary"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.lhs.clone(), self.rhs.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), inputs[1].clone(), self.arithmetic)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(rows_of_broadcast(&self.inputs(), &self.outputs()[0]))
    }
}
