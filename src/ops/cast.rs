//! Conversion of numbers to another data type. The meaning is `reference/cast.rs`, the GPU programs are
//! `kernels/convert/cast.rs`. Codes with a scale and zero point are made by `quantize`.

use super::OpDef;
use crate::error::{Result, require};
use crate::numeric::{DType, PowerRounding};
use crate::tensor::TensorType;

/// `out = x` in another data type: integers of at most 8 bits, and floats of 4 to 32 bits
///
/// * To float16 and float32: the nearest number, ties to even; infinity beyond the greatest. Numbers of all other types are exact
///   in float32. NaN stays NaN.
/// * To a float of 4, 6 or 8 bits: the nearest number, ties to even. Numbers beyond the greatest, infinities included, become the
///   greatest; with [`non_saturating`](CastBuilder::non_saturating) they become infinity in E5M2 and NaN in the other 8-bit types. −0
///   becomes 0 in types without −0. NaN stays NaN, but becomes −0 in the types of 6 and 4 bits, which have no NaN.
/// * To E8M0: |x| rounded to a power of two by [`PowerRounding`], up by default. Results below 2⁻¹²⁷ become 2⁻¹²⁷. Results beyond
///   2¹²⁷ become 2¹²⁷, or NaN with `non_saturating`. Infinity and NaN become NaN.
/// * From a float to an integer of less than 8 bits: the nearest integer, ties to even. To 8 bits: the integer part.
/// * An integer outside the output type's range keeps its low bits. ONNX defines this between integer types and leaves it open for
///   floats. Here a float beyond i32 first becomes the nearest end of i32, and NaN becomes 0.
///
/// Codes are cast as plain numbers: scales and zero points are not read, and the output has none.
///
/// Sources: ONNX Cast and CastLike, with the notes on 4- and 2-bit integers, float8, float4 and float8e8m0; float6 is OCP MX.
/// ONNX's reference rounds subnormals to E8M0 by their fraction bits; here they are rounded by value.
///
/// ```
/// use lowbit::{DType, Tensor, numeric::I4, ops::Cast, reference};
/// let x = Tensor::new([4], vec![2.5f32, -7.6, 8.0, -100.0])?;
/// let op = Cast::new(x.tensor_type().clone(), DType::Int4).build()?;
/// let codes: Vec<i8> = reference::run(&op.into(), &[&x])?[0].values::<I4>()?.iter().map(|code| code.get()).collect();
/// assert_eq!(codes, [2, -8, -8, -4]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cast {
    input: TensorType,
    output: TensorType,
    saturate: bool,
    rounding: PowerRounding,
}

/// Describes a [`Cast`]; made by [`Cast::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct CastBuilder {
    input: TensorType,
    to: DType,
    saturate: bool,
    rounding: PowerRounding,
}

impl CastBuilder {
    /// Doesn't saturate: numbers beyond the greatest of an 8-bit float become infinity or NaN (ONNX: `saturate` 0).
    pub fn non_saturating(mut self) -> Self {
        self.saturate = false;
        self
    }

    /// The rounding to powers of two, up by default; only casts to E8M0 read it.
    pub fn rounding(mut self, rounding: PowerRounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If one of the data types is not listed at [`Cast`].
    pub fn build(self) -> Result<Cast> {
        let Self { input, to, saturate, rounding } = self;
        for format in [input.dtype(), to] {
            let float = matches!(format, DType::Float8E8M0 | DType::Float16 | DType::Float32);
            require!(
                format.is_narrow_integer() || format.is_minifloat() || float,
                "{input} can't be cast to {to}: Cast knows the integer formats of at most 8 bits and floats"
            );
        }
        let output = TensorType::new(to, input.dims())?;
        Ok(Cast { output, input, saturate, rounding })
    }
}

impl Cast {
    /// A builder for a cast of tensors of type `input` to the data type `to`.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(input: TensorType, to: DType) -> CastBuilder {
        CastBuilder { input, to, saturate: true, rounding: PowerRounding::default() }
    }

    pub(crate) fn saturates(&self) -> bool {
        self.saturate
    }

    pub(crate) fn power_rounding(&self) -> PowerRounding {
        self.rounding
    }

    /// True if a cast of floats to this integer type rounds to nearest; false if it truncates.
    pub(crate) fn rounds(to: DType) -> bool {
        to.bits() < 8
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }
}

impl OpDef for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Ok(Self {
            input: inputs[0].clone(),
            output: TensorType::new(self.output.dtype(), inputs[0].dims())?,
            ..self.clone()
        })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}
