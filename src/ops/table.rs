//! Functions of one 8-bit code, by table: activations that are not clamps. The meaning is `reference/table.rs`, the GPU program is
//! `kernels/elementwise/table.rs`.

use super::OpDef;
use super::output::Requantization;
use super::requantize::require_per_tensor;
use crate::error::{Result, require};
use crate::numeric::{self, DType};
use crate::tensor::TensorType;

/// `out = table[x]` for int8 or uint8 codes
///
/// A table made from a function holds `quantize(f(dequantize(code)))` in f32 for each of the 256 codes. The device's results equal
/// the host's.
///
/// Sources: com.microsoft QLinearLeakyRelu and QLinearSigmoid; [`Table::leaky_relu`] and [`Table::sigmoid`] equal them bit for bit.
/// TFLite's LOGISTIC and TANH round halves away from zero; [`Table::from_bytes`] takes their tables.
///
/// ```
/// use lowbit::{DType, Quantization, Tensor, ops::{Requantization, Table}, reference};
/// let x = Tensor::new([3], vec![-80i8, 0, 80])?.quantized(Quantization::tensor(0.05, 0))?;
/// let op = Table::leaky_relu(x.tensor_type().clone(), 0.25, Requantization::new(DType::Int8, 0.05, 0)?)?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<i8>()?, [-20, 0, 80]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    input: TensorType,
    output_type: TensorType,
    entries: [u8; 256],
}

impl Table {
    /// The table of a function of real numbers.
    ///
    /// # Errors
    /// If the input is not int8 or uint8 with one scale and zero point.
    pub fn from_function(input: TensorType, output: &Requantization, function: impl Fn(f32) -> f32) -> Result<Self> {
        let (scale, zero_point) = require_per_tensor("the input", &input)?;
        let output_type = output.byte_type(input.dims())?;
        let (low, high) = output.bounds();
        let entries = std::array::from_fn(|byte| {
            let real = (code_of(input.dtype(), byte as u8) - zero_point) as f32 * scale;
            numeric::quantize(function(real), output.scale(), output.zero_point(), low, high) as u8
        });
        Ok(Self { input, output_type, entries })
    }

    /// A table of bytes, indexed by the byte of the code (int8 or uint8).
    ///
    /// # Errors
    /// If a type is not int8 or uint8, or the shapes differ.
    pub fn from_bytes(input: TensorType, output: TensorType, entries: [u8; 256]) -> Result<Self> {
        for (name, tensor_type) in [("the input", &input), ("the output", &output)] {
            require!(tensor_type.dtype().is_8_bit(), "{name} is {tensor_type}, but it must be int8 or uint8");
        }
        require!(input.shape() == output.shape(), "the input {input} and the output {output} differ in shape");
        Ok(Self { input, output_type: output, entries })
    }

    /// `x` where it is positive, else `alpha · x`.
    ///
    /// # Errors
    /// As [`Table::from_function`].
    pub fn leaky_relu(input: TensorType, alpha: f32, output: Requantization) -> Result<Self> {
        Self::from_function(input, &output, |x| if x >= 0.0 { x } else { alpha * x })
    }

    /// `1 / (1 + exp(−x))` as ONNX Runtime computes it on x86-64 with FMA: `x · p(x²) / q(x²) + 1/2` in f32, for magnitudes of x up
    /// to 18. It is within 2⁻²² of the exact value, so its code is occasionally not the nearest one. [`Table::from_function`] gives
    /// the nearest code.
    ///
    /// # Errors
    /// As [`Table::from_function`].
    pub fn sigmoid(input: TensorType, output: Requantization) -> Result<Self> {
        Self::from_function(input, &output, logistic)
    }

    /// This table followed by another.
    pub(crate) fn then(&self, next: &Self) -> Self {
        let entries = std::array::from_fn(|byte| next.entries[usize::from(self.entries[byte])]);
        Self { input: self.input.clone(), output_type: next.output_type.clone(), entries }
    }

    /// The bounds of the clamp that equals this table for the codes from `least` to `greatest`. `None` if it is not a clamp, or
    /// changes the data type, scale or zero point.
    pub(crate) fn as_clamp(&self, least: i32, greatest: i32) -> Option<(i32, i32)> {
        if self.input.dtype() != self.output_type.dtype()
            || self.input.quantization() != self.output_type.quantization()
        {
            return None;
        }
        let entry = |code: i32| code_of(self.input.dtype(), self.entries[usize::from(code as u8)]);
        let (low, high) = (entry(least), entry(greatest));
        (low <= high && (least..=greatest).all(|code| entry(code) == code.clamp(low, high))).then_some((low, high))
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }

    /// The output byte of each input byte.
    #[must_use]
    pub fn entries(&self) -> &[u8; 256] {
        &self.entries
    }
}

impl OpDef for Table {
    fn name(&self) -> &'static str {
        "table"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let output_type = self.output_type.with_dims(inputs[0].dims())?;
        Ok(Self { input: inputs[0].clone(), output_type, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}

/// The code of int8 or uint8 that a byte is.
pub(crate) fn code_of(dtype: DType, byte: u8) -> i32 {
    if dtype.is_signed() { i32::from(byte as i8) } else { i32::from(byte) }
}

/// The rational approximation of Eigen's logistic function, which ONNX Runtime's kernels share. Each step of Horner's scheme is one
/// fused multiply-add.
fn logistic(x: f32) -> f32 {
    const P: [f32; 5] = [4.370_31e-11, 1.156_273_2e-7, 6.085_749e-5, 0.008_513_771, 0.248_287_95];
    const Q: [f32; 6] = [6.102_473_7e-13, 5.761_021_4e-9, 6.291_068e-6, 0.001_701_988_2, 0.116_817_65, 0.993_151_9];
    let x = x.clamp(-18.0, 18.0);
    let square = x * x;
    let horner = |coefficients: &[f32]| coefficients.iter().fold(0.0f32, |sum, &next| sum.mul_add(square, next));
    (x * horner(&P) / horner(&Q) + 0.5).clamp(0.0, 1.0)
}
