//! The same numbers in another format. The meaning is `reference/cast.rs`, the GPU programs are `kernels/cast.rs`; codes that
//! mean something else than themselves are made by `quantize`.

use super::OpDef;
use crate::error::{Result, require};
use crate::numeric::{DType, PowerRounding};
use crate::tensor::TensorType;

/// `out = x` in another format: integers of at most 8 bits, and floats of 4 to 32 bits
///
/// * To float16 and float32: the nearest, ties to even; beyond the greatest it is infinity. What other formats hold is exact
///   in float32. NaN stays NaN.
/// * To a float of 4, 6 or 8 bits: the nearest, ties to even. Beyond the greatest it is the greatest, infinities too; with
///   [`non_saturating`](Self::non_saturating) it is infinity in E5M2 and NaN in the other formats of 8 bits. Formats without −0
///   make 0 of it. NaN stays NaN, and becomes −0 in the formats of 6 and 4 bits, which have none.
/// * To E8M0: a power of two by [`PowerRounding`], up by default, of the size of x. Below 2⁻¹²⁷ it is that; beyond 2¹²⁷ it is
///   that, or NaN with `non_saturating`; infinity and NaN are NaN.
/// * From a float to 4 or 2 bits: the nearest integer, ties to even; to 8 bits: the integer part.
/// * An integer that the format lacks keeps its low bits. ONNX defines that among integers and leaves it open for floats; here
///   those beyond i32 become its nearest end first, and NaN becomes 0.
///
/// Codes are cast as the numbers they are: scales and zero points are not read, and the output has none.
///
/// Sources: ONNX Cast and CastLike, with the notes on 4- and 2-bit integers, float8, float4 and float8e8m0; float6 is OCP MX.
/// ONNX's reference rounds subnormals to E8M0 by the bits of their fraction; here they are rounded as the numbers they are.
///
/// ```
/// use lowbit::{DType, Tensor, numeric::I4, ops::Cast, reference};
/// let x = Tensor::new([4], vec![2.5f32, -7.6, 8.0, -100.0])?;
/// let op = Cast::new(x.tensor_type().clone(), DType::Int4)?;
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

impl Cast {
    /// A cast of tensors of type `input` to a format.
    ///
    /// # Errors
    /// If one of the formats is none of those above.
    pub fn new(input: TensorType, to: DType) -> Result<Self> {
        for format in [input.dtype(), to] {
            let float = matches!(format, DType::Float8E8M0 | DType::Float16 | DType::Float32);
            require!(
                format.is_narrow_integer() || format.is_minifloat() || float,
                "{input} can't be cast to {to}: Cast knows the integer formats of at most 8 bits and floats"
            );
        }
        let output = TensorType::new(to, input.dims())?;
        Ok(Self { output, input, saturate: true, rounding: PowerRounding::default() })
    }

    /// The same, but what is beyond the greatest number of an 8-bit float becomes infinity or NaN (ONNX: `saturate` 0).
    #[must_use]
    pub fn non_saturating(self) -> Self {
        Self { saturate: false, ..self }
    }

    /// The same with another rounding to powers of two; casts to other formats than E8M0 ignore it.
    #[must_use]
    pub fn rounding(self, rounding: PowerRounding) -> Self {
        Self { rounding, ..self }
    }

    pub(crate) fn saturates(&self) -> bool {
        self.saturate
    }

    pub(crate) fn power_rounding(&self) -> PowerRounding {
        self.rounding
    }

    /// Whether floats are rounded when they are cast to this integer format.
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
        let resized = Self::new(inputs[0].clone(), self.output.dtype())?;
        Ok(Self { saturate: self.saturate, rounding: self.rounding, ..resized })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}
