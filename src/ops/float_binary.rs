//! Elementwise arithmetic and comparisons of real numbers. The meaning is `reference/float_binary.rs`, the GPU programs are
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
    /// `a - b`.
    Subtract,
    /// `a / b`.
    Divide,
    /// The lesser of a and b, NaN if one is.
    Minimum,
    /// The greater of a and b, NaN if one is.
    Maximum,
    /// `a^b`, also of a negative a if b is an integer.
    Power,
    /// 1 if `a = b`, else 0.
    Equal,
    /// 1 if `a < b`, else 0.
    Less,
    /// 1 if `a ≤ b`, else 0.
    LessOrEqual,
    /// 1 if `a > b`, else 0.
    Greater,
    /// 1 if `a ≥ b`, else 0.
    GreaterOrEqual,
}

impl Arithmetic {
    /// All of them, for tests that have to try every operation: those that compute, then comparisons.
    #[cfg(any(test, feature = "unstable-kernels"))]
    pub const EACH: [Self; 12] = [
        Self::Add,
        Self::Multiply,
        Self::Subtract,
        Self::Divide,
        Self::Power,
        Self::Minimum,
        Self::Maximum,
        Self::Equal,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
    ];

    /// True if the result is as far off as an operand, times at most the other operand.
    pub(crate) fn passes_errors(self) -> bool {
        matches!(self, Self::Add | Self::Multiply | Self::Subtract | Self::Minimum | Self::Maximum)
    }
}

/// `out = a ∘ b`, elementwise with NumPy broadcasting, of float32 tensors: a residual, an attention mask, or the gate of a layer.
///
/// With u = 2⁻²³, the error of a result y is at most
///
/// ```text
/// add, subtract, multiply     u · |y|: a device may return either neighbour of the exact result
/// divide                      2.5 · u · |y|
/// power                       4 · |b| · u · |y| if b is an integer from -32 to 32; 5 · u · |y| if it is 1/2 or -1/2; else, with
///                             l = log2 |a| and z = b · l, y times 2^e - 1 + (3 + 2 · |z|) · 2^e · u, where
///                             e = |b| · (4 · u if |a| is from 1/2 to 2, else 3 · u · |l|), and u times |z| + e
/// minimum, maximum            0
/// comparisons                 0
/// ```
///
/// Powers are WGSL's `exp2` of its `log2` unless b is one of the numbers above. Apart from the last two lines, a number below 2⁻¹²⁶
/// may count as zero, and quotients by such numbers, results beyond float32, NaN and infinity are device-specific, because WGSL
/// leaves them open. The last two lines hold for all numbers. A comparison with NaN is 0; -0 equals 0.
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
    /// The result for tensors of these types.
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
