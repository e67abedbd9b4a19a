//! Quantization and dequantization with scales that are known in advance. The meaning is `reference/quantize.rs`, the GPU programs
//! are `kernels/convert/quantize.rs`. Ranges computed on the device are in `dynamic`.

use super::OpDef;
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, Quantization, TensorType};

/// `out = saturate(round_ties_even(x / scale) + zero_point)` of floats to any integer type, `out = cast(x / scale)` to floats of at
/// most 8 bits
///
/// The division is one correctly rounded f32 division, and ties round equally on every device. NaN becomes the least code;
/// infinities saturate. Casts to floats of at most 8 bits are those of [`Cast`](super::Cast), but quotients of −0 become 0 in
/// floats of 6 and 4 bits (ONNX's tests add the zero point there, ONNX Runtime's kernels for 8 bits don't). Scales and zero
/// points are the output type's, of any granularity. float16 inputs are converted to float32 and divided. With
/// [`precision`](QuantizeBuilder::precision) float16 the quotient is rounded to float16 first; for float16 scales this equals one
/// correctly rounded float16 division.
///
/// Sources: ONNX QuantizeLinear, with precision float32 by default; TFLite QUANTIZE of floats
/// ([`ties_away`](QuantizeBuilder::ties_away)).
///
/// ```
/// use lowbit::{DType, Quantization, Tensor, TensorType, ops::Quantize, reference};
/// let x = Tensor::new([4], vec![0.0f32, 0.25, -1e9, f32::NAN])?;
/// let codes = TensorType::new(DType::Int8, [4])?.quantized(Quantization::tensor(0.1, 3))?;
/// let op = Quantize::new(x.tensor_type().clone(), codes).build()?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<i8>()?, [3, 5, -128, -128]); // 2.5 → 2
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Quantize {
    input: TensorType,
    output: TensorType,
    precision: DType,
    saturate: bool,
    ties_away: bool,
}

/// `out = (x − zero_point) · scale` of any type of codes to float32 or float16
///
/// Floats of at most 8 bits have no zero point; their NaN and infinities stay. The difference is exact. Its conversion to f32
/// (which matters for int32) and the product are one correctly rounded f32 operation each, with equal bits on every device,
/// including subnormals. For a float16 output the product is rounded once more. If the scale is a float16 and codes have at most 8
/// bits, this equals one correctly rounded float16 product.
///
/// Source: ONNX DequantizeLinear.
///
/// ```
/// use lowbit::{Granularity, Quantization, Tensor, ops::Dequantize, reference};
/// let codes = Tensor::new([2, 2], vec![1u8, 2, 3, 4])?
///     .quantized(Quantization::new(Granularity::Axis(0), [0.5, 2.0], [1, 0]))?;
/// let op = Dequantize::new(codes.tensor_type().clone()).build()?;
/// assert_eq!(reference::run(&op.into(), &[&codes])?[0].values::<f32>()?, [0.0, 0.5, 6.0, 8.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dequantize {
    input: TensorType,
    output: TensorType,
}

/// Describes a [`Quantize`]; made by [`Quantize::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct QuantizeBuilder {
    input: TensorType,
    output: TensorType,
    precision: DType,
    saturate: bool,
    ties_away: bool,
}

/// Describes a [`Dequantize`]; made by [`Dequantize::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DequantizeBuilder {
    input: TensorType,
    output: DType,
}

fn require_quantized(tensor_type: &TensorType) -> Result<()> {
    require!(
        tensor_type.quantization().is_some(),
        "{tensor_type} has no scale: give it one with TensorType::quantized"
    );
    Ok(())
}

fn require_float(dtype: DType, codes: &TensorType) -> Result<()> {
    require!(
        matches!(dtype, DType::Float16 | DType::Float32),
        "{codes} can't be quantized from or dequantized to {dtype}: the real side is float16 or float32"
    );
    Ok(())
}

impl QuantizeBuilder {
    /// The data type of quotients: float32, the default, or float16.
    pub fn precision(mut self, dtype: DType) -> Self {
        self.precision = dtype;
        self
    }

    /// Doesn't saturate: quotients beyond the greatest number of an 8-bit float become infinity or NaN. Other data types are not
    /// affected.
    pub fn non_saturating(mut self) -> Self {
        self.saturate = false;
        self
    }

    /// Rounds halves away from zero, not to even integers: 2.5 becomes 3.
    ///
    /// ```
    /// use lowbit::{DType, Quantization, Tensor, TensorType, ops::Quantize, reference};
    /// let x = Tensor::new([2], vec![2.5f32, -2.5])?;
    /// let codes = TensorType::new(DType::Int8, [2])?.quantized(Quantization::tensor(1.0, 0))?;
    /// let op = Quantize::new(x.tensor_type().clone(), codes).ties_away().build()?;
    /// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<i8>()?, [3, -3]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn ties_away(mut self) -> Self {
        self.ties_away = true;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the output has no scale, the input or the quotients are not float32 or float16, or the shapes differ. Also if halves
    /// are rounded away from zero, and the output holds floats or the quotients are float16.
    pub fn build(self) -> Result<Quantize> {
        let Self { input, output, precision, saturate, ties_away } = self;
        require!(
            !ties_away || (precision == DType::Float32 && output.dtype().range().is_some()),
            "halves are rounded away from zero for float32 quotients and integers only, but the quotients are {precision} and the output {output}"
        );
        require_quantized(&output)?;
        require_float(input.dtype(), &output)?;
        require_float(precision, &output)?;
        require!(
            input.shape() == output.shape(),
            "the input {input} and the output {output} differ in shape: a quantization keeps it"
        );
        Ok(Quantize { input, output, precision, saturate, ties_away })
    }
}

impl DequantizeBuilder {
    /// The data type of the output: float32, the default, or float16.
    pub fn output(mut self, dtype: DType) -> Self {
        self.output = dtype;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the input has no scale, or the output is not float32 or float16.
    pub fn build(self) -> Result<Dequantize> {
        let Self { input, output } = self;
        require_quantized(&input)?;
        require_float(output, &input)?;
        Ok(Dequantize { output: TensorType::new(output, input.dims())?, input })
    }
}

impl Quantize {
    /// A builder for a quantization of tensors of type `input`, float32 or float16, to tensors of type `output`.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(input: TensorType, output: TensorType) -> QuantizeBuilder {
        QuantizeBuilder { input, output, precision: DType::Float32, saturate: true, ties_away: false }
    }

    /// True if quotients are rounded to float16 before they become codes.
    pub(crate) fn halves_quotients(&self) -> bool {
        self.precision == DType::Float16
    }

    /// True if halves are rounded away from zero.
    pub(crate) fn rounds_away(&self) -> bool {
        self.ties_away
    }

    pub(crate) fn saturates(&self) -> bool {
        self.saturate
    }

    /// This quantization for tensors with permuted axes.
    pub(crate) fn permuted(&self, order: &[usize]) -> Result<Self> {
        Ok(Self { input: self.input.permuted(order)?, output: self.output.permuted(order)?, ..self.clone() })
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    pub(crate) fn granularity(&self) -> Granularity {
        self.quantization().granularity()
    }

    pub(crate) fn quantization(&self) -> &Quantization {
        self.output.quantization().expect("checked when made")
    }
}

impl OpDef for Quantize {
    fn name(&self) -> &'static str {
        "quantize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let output = self.output.with_dims(inputs[0].dims())?;
        Ok(Self { input: inputs[0].clone(), output, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}

impl Dequantize {
    /// A builder for a dequantization of tensors of type `input`, to float32.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(input: TensorType) -> DequantizeBuilder {
        DequantizeBuilder { input, output: DType::Float32 }
    }

    /// This dequantization for tensors with permuted axes.
    pub(crate) fn permuted(&self, order: &[usize]) -> Result<Self> {
        Ok(Self { input: self.input.permuted(order)?, output: self.output.permuted(order)? })
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    pub(crate) fn quantization(&self) -> &Quantization {
        self.input.quantization().expect("checked when made")
    }

    pub(crate) fn granularity(&self) -> Granularity {
        self.quantization().granularity()
    }
}

impl OpDef for Dequantize {
    fn name(&self) -> &'static str {
        "dequantize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Ok(Self { input: inputs[0].clone(), output: self.output.with_dims(inputs[0].dims())? })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}
