//! Elementwise sums and products of two quantized tensors. The meaning is `reference/binary.rs`, the GPU programs are
//! `kernels/binary.rs`.

use super::output::{Requantization, Stage, StageEntry};
use super::requantize::require_per_tensor;
use crate::error::{Result, require};
use crate::numeric::Rounding;
use crate::tensor::TensorType;

/// What a sum and a product have in common: two operands that broadcast, and 8-bit codes.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub lhs: TensorType,
    pub rhs: TensorType,
    pub output: Requantization,
    pub output_type: TensorType,
}

impl Binary {
    fn new(lhs: TensorType, rhs: TensorType, output: Requantization) -> Result<Self> {
        for (name, operand) in [("lhs", &lhs), ("rhs", &rhs)] {
            let (scale, _) = require_per_tensor(name, operand)?;
            // Then every intermediate number is finite: the largest is (255 + 255) · scale.
            require!(
                scale < f32::MAX / 1024.0,
                "the scale of {name} is {scale:e}, but it must be below {:e}",
                f32::MAX / 1024.0
            );
        }
        let output_type = output.byte_type(lhs.shape().broadcast(rhs.shape())?.dimensions())?;
        Ok(Self { lhs, rhs, output, output_type })
    }

    fn resized(&self, inputs: &[TensorType]) -> Result<Self> {
        let [lhs, rhs] = [inputs[0].clone(), inputs[1].clone()];
        let output_type = self.output.tensor_type(lhs.shape().broadcast(rhs.shape())?.dimensions())?;
        Ok(Self { lhs, rhs, output: self.output.clone(), output_type })
    }

    pub(crate) fn parameters(&self) -> [(f32, i32); 2] {
        [&self.lhs, &self.rhs].map(|operand| operand.parameters(0))
    }
}

/// `out = clamp(round_ties_even((s_a (a − z_a) + s_b (b − z_b)) / s_out) + z_out)`, elementwise with NumPy broadcasting
///
/// Dequantize, add, quantize, each step one correctly rounded f32 operation: what a QDQ graph computes. Operands are int8
/// or uint8 with one scale each. Source: com.microsoft QLinearAdd.
///
/// ```
/// use lowbit::{Format, Quantization, Tensor, ops::{Add, Requantization}, reference};
/// let a = Tensor::new([2], vec![10i8, -20])?.quantized(Quantization::tensor(0.1, 0))?;
/// let b = Tensor::new([1], vec![5i8])?.quantized(Quantization::tensor(0.2, 0))?;
/// let op = Add::new(a.tensor_type().clone(), b.tensor_type().clone(), Requantization::new(Format::Int8, 0.5, 0)?)?;
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<i8>()?, [4, -2]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Add(pub(crate) Binary);

/// `out = clamp(rescale((a − z_a) (b − z_b), s_a · s_b / s_out) + z_out)`, elementwise with NumPy broadcasting
///
/// The product of codes is an exact integer. Operands are int8 or uint8 with one scale each. Source: com.microsoft
/// QLinearMul.
///
/// ```
/// use lowbit::{Format, Quantization, Tensor, ops::{Multiply, Requantization}, reference};
/// let a = Tensor::new([2], vec![10i8, -20])?.quantized(Quantization::tensor(0.1, 0))?;
/// let b = Tensor::new([1], vec![5i8])?.quantized(Quantization::tensor(0.2, 0))?;
/// let op = Multiply::new(a.tensor_type().clone(), b.tensor_type().clone(), Requantization::new(Format::Int8, 0.5, 0)?)?;
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<i8>()?, [2, -4]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Multiply {
    pub(crate) binary: Binary,
    pub(crate) stage: Stage,
}

impl Add {
    /// A sum of tensors of these types.
    ///
    /// # Errors
    /// If an operand is not 8-bit with one scale, the shapes don't broadcast, or the stage has a fixed-point rounding
    /// mode or multipliers of its own, which a sum of two scales can't use.
    pub fn new(lhs: TensorType, rhs: TensorType, output: Requantization) -> Result<Self> {
        require!(
            output.mode() == Rounding::Onnx && !output.has_multipliers(),
            "an add rounds once, in f32: use Rounding::Onnx and no explicit multipliers"
        );
        Ok(Self(Binary::new(lhs, rhs, output)?))
    }

    pub(super) fn resized(&self, inputs: &[TensorType]) -> Result<Self> {
        Ok(Self(self.0.resized(inputs)?))
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Self {
        let output = self.0.output.clone().narrowed(low, high);
        Self(Binary { output, ..self.0.clone() })
    }

    pub(super) fn inputs(&self) -> Vec<TensorType> {
        vec![self.0.lhs.clone(), self.0.rhs.clone()]
    }

    pub(super) fn outputs(&self) -> Vec<TensorType> {
        vec![self.0.output_type.clone()]
    }
}

impl Multiply {
    /// A product of tensors of these types.
    ///
    /// # Errors
    /// If an operand is not 8-bit with one scale, the shapes don't broadcast, or the multiplier is not finite and
    /// positive.
    pub fn new(lhs: TensorType, rhs: TensorType, output: Requantization) -> Result<Self> {
        let binary = Binary::new(lhs, rhs, output)?;
        let [(lhs, _), (rhs, _)] = binary.parameters();
        let multiplier = binary.output.channel_multipliers(&[(lhs, rhs)])?[0];
        let entry = StageEntry { bias: 0, multiplier: Some(multiplier), scale: 1.0, real_bias: None };
        Ok(Self { binary, stage: Stage::per_column(vec![entry]) })
    }

    pub(super) fn resized(&self, inputs: &[TensorType]) -> Result<Self> {
        Ok(Self { binary: self.binary.resized(inputs)?, stage: self.stage.clone() })
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Self {
        let output = self.binary.output.clone().narrowed(low, high);
        Self { binary: Binary { output, ..self.binary.clone() }, stage: self.stage.clone() }
    }

    pub(super) fn inputs(&self) -> Vec<TensorType> {
        vec![self.binary.lhs.clone(), self.binary.rhs.clone()]
    }

    pub(super) fn outputs(&self) -> Vec<TensorType> {
        vec![self.binary.output_type.clone()]
    }
}
