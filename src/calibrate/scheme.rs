//! The scale and zero point of a range. A scheme is data, because tools disagree on every part of it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, require};
use crate::numeric::DType;

/// The formula of a scale and zero point, for codes `low..=high` and bounds min, max.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ScaleRule {
    /// `(max − min) / (high − low)`, zero point `round(low − min / scale)`: asymmetric.
    Span,
    /// `2 · max(|min|, |max|) / (high − low)`, zero point in the middle of the codes: symmetric. Codes −127 … 127 divide the
    /// larger magnitude by 127, −128 … 127 by 127.5.
    Magnitude,
    /// `max(min / low, max / high)`, zero point 0: symmetric. It uses all codes of signed formats and clips nothing.
    NoClipping,
}

/// Rounding of a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ties {
    /// To the nearest integer, ties to even (ONNX, PyTorch).
    Even,
    /// To the nearest integer, ties away from zero (TensorFlow Lite).
    Away,
}

impl Ties {
    fn round(self, value: f64) -> f64 {
        match self {
            Self::Even => value.round_ties_even(),
            Self::Away => value.round(),
        }
    }
}

/// The mapping of a range of real numbers to codes. Serializes with serde.
///
/// | constructor | codes of int8 | scale | as in |
/// |---|---|---|---|
/// | [`asymmetric`](Self::asymmetric) | −128 … 127 | (max − min) / 255 | ONNX Runtime |
/// | [`symmetric`](Self::symmetric) | −127 … 127 | max magnitude / 127 | ONNX Runtime, TensorFlow Lite |
/// | [`symmetric_full`](Self::symmetric_full) | −128 … 127 | max magnitude / 127.5 | torchao |
/// | [`no_clipping`](Self::no_clipping) | −128 … 127 | max(−min / 128, max / 127) | torchao |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "File")]
pub struct Scheme {
    low: i32,
    high: i32,
    scale: ScaleRule,
    zero_in_range: bool,
    zero_point: Ties,
}

/// The serialized form, not yet checked.
#[derive(Deserialize)]
struct File {
    low: i32,
    high: i32,
    scale: ScaleRule,
    zero_in_range: bool,
    zero_point: Ties,
}

impl TryFrom<File> for Scheme {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        let scheme = Self::new(file.scale, (file.low, file.high))?;
        Ok(scheme.zero_in_range(file.zero_in_range).zero_point(file.zero_point))
    }
}

impl Scheme {
    /// A scheme for codes `low..=high`. Ranges are extended to hold zero, and zero points are rounded with ties to even.
    ///
    /// ```
    /// use lowbit::calibrate::{ScaleRule, Scheme, Ties};
    /// let scheme = Scheme::new(ScaleRule::Span, (0, 15))?.zero_point(Ties::Away);
    /// assert_eq!(scheme.parameters(-0.5, 7.0), (0.5, 1));
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are fewer than two codes, codes exceed 16 bits, or [`ScaleRule::NoClipping`] has no codes on one side of 0.
    pub fn new(scale: ScaleRule, (low, high): (i32, i32)) -> Result<Self> {
        require!(
            low < high && low >= -32_768 && high <= 65_535,
            "codes from {low} to {high}: a scheme has at least two, within -32,768 to 65,535"
        );
        require!(
            scale != ScaleRule::NoClipping || (low < 0 && high > 0),
            "codes from {low} to {high} with the zero point 0 don't hold numbers of both signs: use ScaleRule::Span"
        );
        Ok(Self { low, high, scale, zero_in_range: true, zero_point: Ties::Even })
    }

    /// This scheme, with ranges extended to hold zero only if `zero_in_range`. If not, a zero point outside the codes is
    /// clamped.
    #[must_use]
    pub fn zero_in_range(self, zero_in_range: bool) -> Self {
        Self { zero_in_range, ..self }
    }

    /// This scheme with another rounding of the zero point.
    #[must_use]
    pub fn zero_point(self, zero_point: Ties) -> Self {
        Self { zero_point, ..self }
    }

    /// The least and greatest code.
    #[must_use]
    pub fn codes(&self) -> (i32, i32) {
        (self.low, self.high)
    }

    fn of(dtype: DType, narrow: bool, scale: ScaleRule) -> Result<Self> {
        let range = dtype.range().filter(|_| dtype.bits() <= 16);
        require!(range.is_some(), "{dtype} has no quantization scheme: use an integer format of at most 16 bits");
        let (low, high) = range.unwrap_or_default();
        let low = if narrow && low < 0 { -high } else { low };
        Self::new(scale, (low, high))
    }

    /// A scheme that maps the range, extended to hold zero, to all codes.
    ///
    /// # Errors
    /// If the format has no integer codes, or more than 16 bits.
    pub fn asymmetric(dtype: DType) -> Result<Self> {
        Self::of(dtype, false, ScaleRule::Span)
    }

    /// A scheme whose range reaches the larger magnitude on both sides of zero. Signed codes exclude the least one.
    ///
    /// # Errors
    /// As [`Scheme::asymmetric`].
    pub fn symmetric(dtype: DType) -> Result<Self> {
        Self::of(dtype, true, ScaleRule::Magnitude)
    }

    /// The scheme of [`Scheme::symmetric`] with the least code of signed formats too: the magnitude spans half a step more.
    ///
    /// # Errors
    /// As [`Scheme::asymmetric`].
    pub fn symmetric_full(dtype: DType) -> Result<Self> {
        Self::of(dtype, false, ScaleRule::Magnitude)
    }

    /// The least symmetric scale that clips nothing, with all codes of a signed format.
    ///
    /// # Errors
    /// As [`Scheme::asymmetric`], or if the format is unsigned.
    pub fn no_clipping(dtype: DType) -> Result<Self> {
        require!(dtype.is_signed(), "{dtype} codes have no negative side: use Scheme::asymmetric");
        Self::of(dtype, false, ScaleRule::NoClipping)
    }

    /// Scale and zero point for these bounds. The computation is f64; the scale is rounded to f32 once, and is at most the
    /// greatest f32. If it would be below the least normal f32, as for a range of zero or invalid bounds, the scale is 1 and the
    /// zero point is the code nearest to 0.
    ///
    /// ```
    /// use lowbit::{DType, calibrate::Scheme};
    /// assert_eq!(Scheme::asymmetric(DType::Uint8)?.parameters(-1.0, 4.1), (0.02, 50));
    /// assert_eq!(Scheme::symmetric(DType::Int8)?.parameters(-2.54, 1.0), (0.02, 0));
    /// assert_eq!(Scheme::symmetric_full(DType::Int8)?.parameters(-2.55, 1.0), (0.02, 0));
    /// assert_eq!(Scheme::symmetric(DType::Uint8)?.parameters(-2.55, 1.0), (0.02, 128));
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    #[must_use]
    pub fn parameters(&self, min: f32, max: f32) -> (f32, i32) {
        let (mut min, mut max) = (f64::from(min), f64::from(max));
        if self.zero_in_range {
            (min, max) = (min.min(0.0), max.max(0.0));
        }
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let scale = match self.scale {
            ScaleRule::Span => (max - min) / (high - low),
            ScaleRule::Magnitude => 2.0 * min.abs().max(max.abs()) / (high - low),
            ScaleRule::NoClipping => (min / low).max(max / high),
        };
        let scale = scale.min(f64::from(f32::MAX)) as f32;
        if !(scale.is_normal() && scale > 0.0) {
            return (1.0, 0.clamp(self.low, self.high));
        }
        let zero_point = match self.scale {
            ScaleRule::Span => self.zero_point.round(low - min / f64::from(scale)),
            ScaleRule::Magnitude => self.zero_point.round((low + high) / 2.0),
            ScaleRule::NoClipping => 0.0,
        };
        (scale, (zero_point as i32).clamp(self.low, self.high))
    }
}
