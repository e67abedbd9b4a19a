//! The same numbers in another format. The meaning is `reference/cast.rs`, the GPU programs are `kernels/cast.rs`; codes that
//! mean something else than themselves are made by `quantize`.

use crate::error::{Result, require};
use crate::numeric::Format;
use crate::tensor::TensorType;

/// `out = x` in another format: between integer formats of at most 8 bits, float16 and float32
///
/// * To a float: the nearest, ties to even; beyond the greatest it is infinity. Codes are exact in both, and so are float16
///   in float32. NaN stays NaN.
/// * From a float to 4 or 2 bits: the nearest integer, ties to even; to 8 bits: the integer part.
/// * An integer that the format lacks keeps its low bits. ONNX defines that among integers and leaves it open for floats; here
///   those beyond i32 become its nearest end first, and NaN becomes 0.
///
/// Codes are cast as the numbers they are: scales and zero points are not read, and the output has none.
///
/// Sources: ONNX Cast and CastLike, with the notes on 4- and 2-bit integers.
///
/// ```
/// use lowbit::{Format, Tensor, numeric::I4, ops::Cast, reference};
/// let x = Tensor::new([4], vec![2.5f32, -7.6, 8.0, -100.0])?;
/// let op = Cast::new(x.tensor_type().clone(), Format::Int4)?;
/// let codes: Vec<i8> = reference::run(&op.into(), &[&x])?[0].values::<I4>()?.iter().map(|code| code.get()).collect();
/// assert_eq!(codes, [2, -8, -8, -4]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cast {
    input: TensorType,
    output: TensorType,
}

impl Cast {
    /// A cast of tensors of type `input` to a format.
    ///
    /// # Errors
    /// If one of the formats is none of those above.
    pub fn new(input: TensorType, to: Format) -> Result<Self> {
        for format in [input.format(), to] {
            require!(
                format.is_narrow_integer() || matches!(format, Format::Float16 | Format::Float32),
                "{input} can't be cast to {to}: Cast knows the integer formats of at most 8 bits, float16 and float32"
            );
        }
        Ok(Self { output: TensorType::new(to, input.dimensions())?, input })
    }

    /// Whether floats are rounded when they are cast to this integer format.
    pub(crate) fn rounds(to: Format) -> bool {
        to.bits() < 8
    }

    pub(super) fn resized(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), self.output.format())
    }

    pub(super) fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    pub(super) fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }
}
