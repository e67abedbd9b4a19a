//! The quantization of a layer's inputs, as a model file asks for it. The op that makes such codes is in `ops`.

use crate::error::Result;
use crate::numeric::DType;
use crate::tensor::{Quantization, TensorType};

/// The inputs that a layer's weights were made for. Weights can be multiplied by float activations all the same, with less error.
///
/// ```
/// use lowbit::import::Activations;
/// use lowbit::{DType, ops::DynamicQuantize};
/// let constant = Activations::Static { dtype: DType::Int8, scale: 0.5, zero_point: 0 };
/// assert_eq!(constant.input([4, 64])?.quantization().map(|q| q.scales().to_vec()), Some(vec![0.5]));
/// assert_eq!(Activations::Float.input([4, 64])?.dtype(), DType::Float32);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Activations {
    /// Float activations.
    Float,
    /// Codes with a constant scale and zero point for the whole tensor: real = scale · (code − zero point).
    Static {
        /// The type of the codes: int8 or uint8, or a small float, which no product takes.
        dtype: DType,
        /// The scale.
        scale: f32,
        /// The zero point.
        zero_point: i32,
    },
    /// Codes whose scales are found when the layer runs.
    Dynamic {
        /// The type of the codes: int8 or uint8, or a small float, which no product takes.
        dtype: DType,
        /// Codes along k that share a scale; `usize::MAX` for a row (a token).
        group: usize,
        /// True if the zero point is 0.
        symmetric: bool,
    },
}

impl Activations {
    /// The type of the first input of [`Linear`](crate::ops::Linear) with these activations `[…, k]`: int8 or uint8 with scale and
    /// zero point, without scales if they are dynamic (call [`dynamic_lhs`](crate::ops::LinearBuilder::dynamic_lhs)), or float32 for
    /// floats, and for small floats, which no product takes.
    ///
    /// # Errors
    /// If there are too many elements, or the scale is not a positive number.
    pub fn input(&self, dims: impl Into<Vec<usize>>) -> Result<TensorType> {
        let dims = dims.into();
        match *self {
            Self::Static { dtype, scale, zero_point } if dtype.is_8_bit() => {
                TensorType::new(dtype, dims)?.quantized(Quantization::tensor(scale, zero_point))
            }
            Self::Dynamic { dtype, .. } if dtype.is_8_bit() => TensorType::new(dtype, dims),
            _ => TensorType::new(DType::Float32, dims),
        }
    }
}
