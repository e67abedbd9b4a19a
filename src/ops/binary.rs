//! Elementwise sums and products of two quantized tensors. The meaning is `reference/binary.rs`, the GPU programs are
//! `kernels/elementwise/binary.rs`.

use super::output::{Requantization, Stage, StageEntry};
use super::quantized_arithmetic::QuantizedArithmetic;
use super::requantize::require_per_tensor;
use super::{OpDef, rows_of_broadcast};
use crate::error::{Result, require};
use crate::numeric::{Multiplier, Rounding};
use crate::tensor::{Shape, TensorType};

/// The part that a sum and a product share: two operands that broadcast, and 8-bit codes.
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
            // This keeps every intermediate number finite: the largest is (255 + 255) · scale.
            require!(
                scale < f32::MAX / 1024.0,
                "the scale of {name} is {scale:e}, but it must be below {:e}",
                f32::MAX / 1024.0
            );
        }
        let output_type = output.byte_type(lhs.shape().broadcast(rhs.shape())?.dims())?;
        Ok(Self { lhs, rhs, output, output_type })
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let [lhs, rhs] = [inputs[0].clone(), inputs[1].clone()];
        let output_type = self.output.tensor_type(lhs.shape().broadcast(rhs.shape())?.dims())?;
        Ok(Self { lhs, rhs, output: self.output.clone(), output_type })
    }

    fn clamped(&self, low: i32, high: i32) -> Self {
        Self { output: self.output.clone().narrowed(low, high), ..self.clone() }
    }

    /// The scale and zero point of lhs and of rhs.
    pub(crate) fn parameters(&self) -> [(f32, i32); 2] {
        [&self.lhs, &self.rhs].map(|operand| operand.parameters(0))
    }
}

/// `out ≈ (s_a (a − z_a) + s_b (b − z_b)) / s_out + z_out`, elementwise with NumPy broadcasting
///
/// Operands are int8 or uint8 with one scale each. [`QuantizedArithmetic`] selects the rounding, by default `QOperator`, or
/// `Integer` if the output has a fixed-point rounding mode:
///
/// ```text
/// QOperator   clamp(round_ties_even(fma(v, s_v / s_out, fma(u, s_u / s_out, c))))
///             c = z_out − fma(s_v / s_out, z_v, s_u / s_out · z_u)
/// Qdq         clamp(round_ties_even((s_a (a − z_a) + s_b (b − z_b)) / s_out) + z_out)
/// Integer     clamp(rescale(rescale((a − z_a) · 2²⁰, s_a / t) ± rescale((b − z_b) · 2²⁰, s_b / t), t / (2²⁰ s_out)) + z_out)
///             t = 2 max(s_a, s_b)
/// ```
///
/// Each operation of the first two, and each `fma` as a whole, is one correctly rounded f32 operation. By default `u` is `b` and
/// `v` is `a`. They are exchanged if the innermost dimension that is not 1 in both shapes is 1 in the shape of `a`, or if all
/// dimensions are 1. The shapes that the op is constructed with decide this, at any extent of a graph. `rescale` is
/// [`Rounding::rescale`] in the output's mode, `FixedSingle` or `FixedDouble`, with multipliers as [`Multiplier::from_scales`]
/// makes them of quotients in f64. Sources: com.microsoft QLinearAdd; TFLite ADD, and SUB ([`subtract`](AddBuilder::subtract)),
/// on 8-bit codes.
///
/// ```
/// use lowbit::ops::{Add, QuantizedArithmetic, Requantization};
/// use lowbit::{DType, Quantization, Tensor, reference};
/// let a = Tensor::new([2], vec![10i8, -20])?.quantized(Quantization::tensor(0.1, 0))?;
/// let b = Tensor::new([1], vec![5i8])?.quantized(Quantization::tensor(0.2, 0))?;
/// let op = Add::new(a.tensor_type().clone(), b.tensor_type().clone(), Requantization::new(DType::Int8, 0.5, 0)?).build()?;
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<i8>()?, [4, -2]);
///
/// // 2.5 + 1 is 3.5, and its nearest even integer is 4. `Qdq` rounds 2.5 to 2 before it adds 1.
/// let a = Tensor::new([1], vec![5i8])?.quantized(Quantization::tensor(0.5, 0))?;
/// let b = Tensor::new([1], vec![0i8])?.quantized(Quantization::tensor(0.5, 0))?;
/// let sum = |arithmetic| {
///     let (a, b) = (a.tensor_type().clone(), b.tensor_type().clone());
///     Add::new(a, b, Requantization::new(DType::Int8, 1.0, 1)?).arithmetic(arithmetic).build()
/// };
/// let (op, unfused) = (sum(QuantizedArithmetic::QOperator)?, sum(QuantizedArithmetic::Qdq)?);
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<i8>()?, [4]);
/// assert_eq!(reference::run(&unfused.into(), &[&a, &b])?[0].values::<i8>()?, [3]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Add {
    binary: Binary,
    addition: Addition,
}

/// The rounding of an [`Add`] with its coefficients.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Addition {
    QOperator(Ratios),
    /// Dequantize, add, quantize.
    Qdq,
    Integer(CommonScale),
}

/// The multipliers of a sum in [`QuantizedArithmetic::Integer`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommonScale {
    /// From the scale of lhs and of rhs to the common scale.
    pub operands: [Multiplier; 2],
    /// From the common scale to the output's.
    pub output: Multiplier,
    /// True if rhs is subtracted.
    pub subtract: bool,
}

impl CommonScale {
    /// The bits by which codes are shifted left before they are rescaled.
    pub(crate) const SHIFT: u32 = 20;

    fn new(binary: &Binary, subtract: bool) -> Result<Self> {
        let [(lhs_scale, _), (rhs_scale, _)] = binary.parameters();
        let [lhs, rhs, scale] = [lhs_scale, rhs_scale, binary.output.scale()].map(f64::from);
        let mode = binary.output.mode();
        require!(
            matches!(mode, Rounding::FixedSingle | Rounding::FixedDouble),
            "a sum of integers rounds in fixed point, but Rounding::{mode:?} was asked for: use Rounding::FixedDouble or FixedSingle"
        );
        let common = 2.0 * lhs.max(rhs);
        let output = common / (f64::from(1 << Self::SHIFT) * scale);
        require!(
            output < 1.0 - 1e-9,
            "the scales {lhs_scale:e} and {rhs_scale:e} are too large beside the output's {:e}: a sum of integers needs them below \
             2^19 times it",
            binary.output.scale()
        );
        let operands = [Multiplier::of(lhs / common)?, Multiplier::of(rhs / common)?];
        Ok(Self { operands, output: Multiplier::of(output)?, subtract })
    }
}

/// Describes an [`Add`]; made by [`Add::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct AddBuilder {
    lhs: TensorType,
    rhs: TensorType,
    output: Requantization,
    arithmetic: Option<QuantizedArithmetic>,
    subtract: bool,
}

/// The coefficients of a sum in [`QuantizedArithmetic::QOperator`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratios {
    /// The scales of lhs and of rhs, each divided by the output's.
    pub lhs: f32,
    pub rhs: f32,
    /// The output's zero point minus the rescaled zero points of the operands.
    pub offset: f32,
    /// True if lhs is added to the offset before rhs.
    pub lhs_first: bool,
}

impl Ratios {
    fn new(binary: &Binary) -> Result<Self> {
        let scale = binary.output.scale();
        let [(lhs_scale, lhs_zero_point), (rhs_scale, rhs_zero_point)] = binary.parameters();
        for (name, operand) in [("lhs", lhs_scale), ("rhs", rhs_scale)] {
            // This keeps every intermediate number finite: the largest is a sum of four ratios times 255, plus 255.
            require!(
                operand / scale < f32::MAX / 4096.0,
                "the scale of {name} is {operand:e} and the output's {scale:e}: their ratio must be below {:e}; use \
                 QuantizedArithmetic::Qdq",
                f32::MAX / 4096.0
            );
        }
        let (lhs, rhs) = (lhs_scale / scale, rhs_scale / scale);
        let lhs_first = lhs_is_repeated(binary.lhs.shape(), binary.rhs.shape());
        let (lhs_zero_point, rhs_zero_point) = (lhs_zero_point as f32, rhs_zero_point as f32);
        let zero_points = match lhs_first {
            true => rhs.mul_add(rhs_zero_point, lhs * lhs_zero_point),
            false => lhs.mul_add(lhs_zero_point, rhs * rhs_zero_point),
        };
        Ok(Self { lhs, rhs, offset: binary.output.zero_point() as f32 - zero_points, lhs_first })
    }
}

/// True if the innermost dimension that is not 1 in both shapes is 1 in the shape of lhs, or if there is no such dimension.
pub(crate) fn lhs_is_repeated(lhs: &Shape, rhs: &Shape) -> bool {
    let rank = lhs.rank().max(rhs.rank());
    let extents = (0..rank).rev().map(|axis| (lhs.aligned(rank, axis), rhs.aligned(rank, axis)));
    extents.into_iter().find(|&pair| pair != (1, 1)).is_none_or(|(lhs, _)| lhs == 1)
}

/// `out ≈ s_a (a − z_a) · s_b (b − z_b) / s_out + z_out`, elementwise with NumPy broadcasting
///
/// Operands are int8 or uint8 with one scale each. [`QuantizedArithmetic`] selects the rounding, by default `QOperator`, or
/// `Integer` if the output has a fixed-point rounding mode:
///
/// ```text
/// QOperator   clamp(round_ties_even(f32(p) · m + z_out))               p = (a − z_a) (b − z_b), an exact integer
/// Qdq         clamp(round_ties_even((s_a (a − z_a)) (s_b (b − z_b)) / s_out) + z_out)
/// Integer     clamp(rescale(p, m) + z_out)                             m = s_a · s_b / s_out, or the multiplier given
/// ```
///
/// Each step of the first two is one correctly rounded f32 operation. `rescale` is [`Rounding::rescale`]. Sources: com.microsoft
/// QLinearMul, TFLite MUL.
///
/// ```
/// use lowbit::{DType, Quantization, Tensor, ops::{Multiply, Requantization}, reference};
/// let a = Tensor::new([2], vec![10i8, -20])?.quantized(Quantization::tensor(0.1, 0))?;
/// let b = Tensor::new([1], vec![5i8])?.quantized(Quantization::tensor(0.2, 0))?;
/// let op = Multiply::new(a.tensor_type().clone(), b.tensor_type().clone(), Requantization::new(DType::Int8, 0.5, 0)?).build()?;
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<i8>()?, [2, -4]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Multiply {
    pub(crate) binary: Binary,
    pub(crate) stage: Stage,
    pub(crate) arithmetic: QuantizedArithmetic,
}

/// Describes a [`Multiply`]; made by [`Multiply::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MultiplyBuilder {
    lhs: TensorType,
    rhs: TensorType,
    output: Requantization,
    arithmetic: Option<QuantizedArithmetic>,
}

impl AddBuilder {
    /// The rounding of the sum; by default `QOperator`, or `Integer` if the output has a fixed-point rounding mode.
    pub fn arithmetic(mut self, arithmetic: QuantizedArithmetic) -> Self {
        self.arithmetic = Some(arithmetic);
        self
    }

    /// Subtracts rhs: `a − b`. The arithmetic must be `Integer`.
    ///
    /// ```
    /// use lowbit::ops::{Add, Requantization};
    /// use lowbit::{DType, Quantization, Rounding, Tensor, reference};
    /// let a = Tensor::new([2], vec![10i8, -20])?.quantized(Quantization::tensor(0.1, 0))?;
    /// let b = Tensor::new([1], vec![5i8])?.quantized(Quantization::tensor(0.2, 0))?;
    /// let output = Requantization::new(DType::Int8, 0.5, 0)?.rounding(Rounding::FixedDouble);
    /// let op = Add::new(a.tensor_type().clone(), b.tensor_type().clone(), output).subtract().build()?;
    /// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<i8>()?, [0, -6]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn subtract(mut self) -> Self {
        self.subtract = true;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If an operand is not 8-bit with one scale, the shapes don't broadcast, the output has explicit multipliers, or the arithmetic is
    /// `QOperator` and the ratio of an operand's scale to the output's is 2¹¹⁶ or more. Also if the arithmetic is `Integer` and that ratio
    /// is 2¹⁹ or more, or the rounding mode is neither `FixedSingle` nor `FixedDouble`; and if it isn't, but the output has a fixed-point
    /// rounding mode or rhs is subtracted.
    pub fn build(self) -> Result<Add> {
        let Self { lhs, rhs, output, arithmetic, subtract } = self;
        let arithmetic = QuantizedArithmetic::resolve(arithmetic, output.mode(), false)?;
        require!(!output.has_multipliers(), "an add makes its multipliers from scales: use no explicit multipliers");
        require!(
            !subtract || arithmetic == QuantizedArithmetic::Integer,
            "a difference is computed in integers: use QuantizedArithmetic::Integer and a fixed-point rounding mode"
        );
        let binary = Binary::new(lhs, rhs, output)?;
        let addition = match arithmetic {
            QuantizedArithmetic::QOperator => Addition::QOperator(Ratios::new(&binary)?),
            QuantizedArithmetic::Integer => Addition::Integer(CommonScale::new(&binary, subtract)?),
            QuantizedArithmetic::Qdq | QuantizedArithmetic::Codes => Addition::Qdq,
        };
        Ok(Add { binary, addition })
    }
}

impl MultiplyBuilder {
    /// The rounding of the product; by default `QOperator`, or `Integer` if the output has a fixed-point rounding mode.
    pub fn arithmetic(mut self, arithmetic: QuantizedArithmetic) -> Self {
        self.arithmetic = Some(arithmetic);
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If an operand is not 8-bit with one scale, the shapes don't broadcast, or the multiplier is not finite and positive. Also
    /// if the output has a fixed-point rounding mode and the arithmetic is not `Integer`, or if the output has explicit
    /// multipliers and the arithmetic is `Qdq`.
    pub fn build(self) -> Result<Multiply> {
        let Self { lhs, rhs, output, arithmetic } = self;
        let arithmetic = QuantizedArithmetic::resolve(arithmetic, output.mode(), output.has_multipliers())?;
        let binary = Binary::new(lhs, rhs, output)?;
        let [(lhs, _), (rhs, _)] = binary.parameters();
        let multiplier = binary.output.channel_multipliers(&[(lhs, rhs)])?[0];
        let entry = StageEntry { bias: 0, multiplier: Some(multiplier), scale: 1.0, real_bias: None };
        Ok(Multiply { binary, stage: Stage::per_column(1, move |_| entry), arithmetic })
    }
}

impl Add {
    /// A builder for a sum of tensors of these types.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(lhs: TensorType, rhs: TensorType, output: Requantization) -> AddBuilder {
        AddBuilder { lhs, rhs, output, arithmetic: None, subtract: false }
    }

    pub(crate) fn binary(&self) -> &Binary {
        &self.binary
    }

    pub(crate) fn addition(&self) -> Addition {
        self.addition
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Self {
        Self { binary: self.binary.clamped(low, high), ..self.clone() }
    }
}

impl OpDef for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.binary.lhs.clone(), self.binary.rhs.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.binary.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Ok(Self { binary: self.binary.with_inputs(inputs)?, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(rows_of_broadcast(&self.inputs(), &self.outputs()[0]))
    }
}

impl Multiply {
    /// A builder for a product of tensors of these types.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(lhs: TensorType, rhs: TensorType, output: Requantization) -> MultiplyBuilder {
        MultiplyBuilder { lhs, rhs, output, arithmetic: None }
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Self {
        Self { binary: self.binary.clamped(low, high), ..self.clone() }
    }
}

impl OpDef for Multiply {
    fn name(&self) -> &'static str {
        "multiply"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.binary.lhs.clone(), self.binary.rhs.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.binary.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Ok(Self { binary: self.binary.with_inputs(inputs)?, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(rows_of_broadcast(&self.inputs(), &self.outputs()[0]))
    }
}
