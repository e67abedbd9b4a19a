//! Softmax over the rows of a tensor of codes. The meaning is `reference/quantized_softmax.rs`, the GPU program is
//! `kernels/elementwise/quantized_softmax.rs`.

use super::OpDef;
use super::output::Requantization;
use super::requantize::require_per_tensor;
use crate::error::{Result, require};
use crate::numeric::Rounding;
use crate::tensor::TensorType;

/// The softmax of 8-bit codes over the last dimension, in codes:
/// `out[…, i] ≈ e^(s · x[…, i]) / Σ_j e^(s · x[…, j]) / s_out + z_out`
///
/// Results are exact by this definition, on every device. Powers are looked up, so that only their sum is rounded on the way:
///
/// ```text
/// shift    = (max(0, ln(f32::MAX / n) − 5)) / s               the quotient f32::MAX / n and its logarithm are f32, the rest f64
/// power[d] = e^(s · (shift − d))                              computed in f64, rounded to f32, for d = 0 … 255
/// p_i      = power[max_j x_j − x_i]
/// sum      = 0 + p_0 + p_1 + …                                in this order, each addition rounded to f32
/// factor   = floor(1 / s_out)                                 1 / s_out is f32
/// out_i    = clamp(round_ties_even(p_i · factor / sum) + z_out)        the exact quotient is rounded, once
/// ```
///
/// n is the length of a row, at most [`QuantizedSoftmax::MOST`]. The shift brings the sum near the end of f32. It drops out of the
/// quotient but for roundings. The zero point of the input drops out entirely. Input and output are int8 or uint8 with one scale.
///
/// Source: com.microsoft QLinearSoftmax on CPUs, whose codes these are, unless a code leaves −128 … 127 (int8) or 2³² (uint8):
/// there its bits wrap around, here it saturates. The C library's logf decides `shift`. Here it is `ln` in f64, rounded, which
/// differs from glibc's in two rows' lengths (60,594 and 96,962).
///
/// ```
/// use lowbit::{DType, Quantization, Tensor, ops::{QuantizedSoftmax, Requantization}, reference};
/// let x = Tensor::new([2, 2], vec![7u8, 7, 255, 0])?.quantized(Quantization::tensor(0.1, 0))?;
/// let op = QuantizedSoftmax::new(x.tensor_type().clone(), Requantization::new(DType::Uint8, 1.0 / 256.0, 0)?)?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<u8>()?, [128, 128, 255, 0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct QuantizedSoftmax {
    input: TensorType,
    output: Requantization,
    output_type: TensorType,
}

impl QuantizedSoftmax {
    /// The greatest length of a row: drivers end longer sequential sums.
    pub const MOST: usize = 1 << 17;

    /// The softmax over the rows of tensors of type `input`.
    ///
    /// # Errors
    /// If the input is not int8 or uint8 with one scale and zero point, has no dimension, or has rows of more than
    /// [`QuantizedSoftmax::MOST`] codes. If the output is not 8 bits, has multipliers or another rounding than ONNX's, or a scale
    /// whose reciprocal is no f32.
    pub fn new(input: TensorType, output: Requantization) -> Result<Self> {
        require_per_tensor("the input", &input)?;
        require!(input.shape().rank() > 0, "a scalar has no row to have a share in: reshape it to [1]");
        let n = input.shape().row_length();
        require!(
            n <= Self::MOST,
            "the rows have {n} codes, but f32 of more than {} are not summed one after the other: use Dequantize, Softmax and Quantize",
            Self::MOST
        );
        require!(
            !output.has_multipliers() && output.mode() == Rounding::Onnx,
            "a softmax has one rounding and no multipliers: give its output only a scale, a zero point and a clamp"
        );
        let factor = output.scale().recip();
        require!(
            factor.is_finite(),
            "the scale of the output is {:e}, but its reciprocal must be an f32: make it larger",
            output.scale()
        );
        let output_type = output.byte_type(input.dims())?;
        Ok(Self { input, output, output_type })
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Self {
        Self { output: self.output.clone().narrowed(low, high), ..self.clone() }
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &Requantization {
        &self.output
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }

    /// Steps of the output in 1.
    pub(crate) fn factor(&self) -> f32 {
        self.output.scale().recip().floor()
    }

    /// The power of each distance from the greatest code of a row.
    pub(crate) fn powers(&self) -> [f32; 256] {
        let scale = f64::from(self.input.parameters(0).0);
        let quotient = f32::MAX / self.input.shape().row_length().max(1) as f32;
        let logarithm = f64::from(quotient).ln() as f32;
        let shift = (f64::from(logarithm) - 5.0).max(0.0) / scale;
        std::array::from_fn(|distance| ((shift - distance as f64) * scale).exp() as f32)
    }
}

impl OpDef for QuantizedSoftmax {
    fn name(&self) -> &'static str {
        "quantized softmax"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), self.output.clone())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.input.shape().rank() > 1).then(|| vec![true])
    }
}
