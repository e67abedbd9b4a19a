//! Quantization schemes as data: codes, granularity, clipping, and the scale and zero point of a range. Finding ranges and
//! rounding are elsewhere.

use std::fmt;

use half::f16;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, require};
use crate::numeric::{BlockFormat, BlockRounding, DType, Minifloat, quantize};
use crate::weights::Codes;

/// The data type of codes, before they are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CodeFormat {
    /// Integers of this many bits, 2 to 8.
    Int(u8),
    /// Floats: `Float8E4M3Fn`, `Float8E5M2`, `Float4E2M1` and the others of at most 8 bits. Layers may also read `Float16` or
    /// `Float32`, which have no scale and are not quantized.
    Float(DType),
}

impl CodeFormat {
    /// Bits of a code.
    #[must_use]
    pub fn bits(self) -> u8 {
        match (self, self.minifloat()) {
            (Self::Int(bits), _) => bits,
            (_, Some(layout)) => layout.width as u8,
            (Self::Float(format), None) => format.bits() as u8,
        }
    }

    fn minifloat(self) -> Option<Minifloat> {
        match self {
            Self::Int(_) => None,
            Self::Float(format) => Minifloat::of(format),
        }
    }

    /// An error for codes that can't have a scale.
    fn check(self, what: &str) -> Result<()> {
        match self {
            Self::Int(bits) => {
                require!((2..=8).contains(&bits), "{what} of {bits} bits were asked for: it may be 2 to 8");
            }
            Self::Float(format) => {
                require!(
                    format.is_minifloat(),
                    "{what} in {format} were asked for: floats that are scaled have at most 8 bits, as float8e4m3fn and \
                     float4e2m1 do"
                );
            }
        }
        Ok(())
    }

    /// An error for codes that layers can't read. Layers read codes with a scale, float16 and float32.
    pub(super) fn check_activations(self) -> Result<()> {
        match self {
            Self::Float(DType::Float16 | DType::Float32) => Ok(()),
            _ => self.check("activations"),
        }
    }
}

impl fmt::Display for CodeFormat {
    /// `int4`, or the name of the float.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(bits) => write!(f, "int{bits}"),
            Self::Float(format) => write!(f, "{format}"),
        }
    }
}

/// The quantization of a layer's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WeightScheme {
    /// The data type of codes: integers, or floats of at most 8 bits.
    pub codes: CodeFormat,
    /// If true, zero points are 0, and integers are −(2ᵇ⁻¹ − 1) … 2ᵇ⁻¹ − 1. Else integers are 0 … 2ᵇ − 1 with a zero point for
    /// each scale. Floats are symmetric.
    pub symmetric: bool,
    /// The weights that share a scale.
    pub granularity: WeightGranularity,
    /// The rule for the range that codes cover.
    pub clipping: WeightClipping,
}

/// The weights that share a scale, and the data type of the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WeightGranularity {
    /// All weights of a layer; a float32.
    Tensor,
    /// The weights of an output; a float32.
    Channel,
    /// Runs of this many weights of an output; a float32. The last run may be shorter.
    Group(usize),
    /// Runs of 32; a power of two that follows from the largest of them. These are the blocks of [`BlockFormat::mx`], for
    /// floats only.
    Mx(BlockRounding),
    /// Runs of 16; an E4M3, and one float32 that multiplies all of them. These are the blocks of [`BlockFormat::nvfp4_for`],
    /// for E2M1 only.
    Nvfp4,
}

/// The rule for the range that codes cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WeightClipping {
    /// The range of all weights, as far as scales can be chosen freely.
    MinMax,
    /// The full range, or the fraction of it, with the least mean square error of the weights.
    Mse,
    /// The full range, or the fraction of it, with the least mean square error of the layer's outputs on the calibration data
    /// (as in AIMET's SeqMSE and AWQ's clipping).
    Output,
}

impl WeightScheme {
    /// This scheme with these codes.
    #[must_use]
    pub const fn with_codes(mut self, codes: CodeFormat) -> Self {
        self.codes = codes;
        self
    }

    /// This scheme with or without symmetric codes.
    #[must_use]
    pub const fn with_symmetric(mut self, symmetric: bool) -> Self {
        self.symmetric = symmetric;
        self
    }

    /// This scheme with this granularity.
    #[must_use]
    pub const fn with_granularity(mut self, granularity: WeightGranularity) -> Self {
        self.granularity = granularity;
        self
    }

    /// This scheme with this rule for ranges.
    #[must_use]
    pub const fn with_clipping(mut self, clipping: WeightClipping) -> Self {
        self.clipping = clipping;
        self
    }
}

impl WeightScheme {
    /// Symmetric integers of `bits` bits. Each output has a scale, and its range holds every weight.
    #[must_use]
    pub const fn per_channel(bits: u8) -> Self {
        Self {
            codes: CodeFormat::Int(bits),
            symmetric: true,
            granularity: WeightGranularity::Channel,
            clipping: WeightClipping::MinMax,
        }
    }

    /// Floats of a data type with a scale per output: `max|w| / greatest`, with 448 for E4M3, 57,344 for E5M2, 6 for E2M1.
    #[must_use]
    pub const fn float(dtype: DType) -> Self {
        Self { codes: CodeFormat::Float(dtype), ..Self::per_channel(8) }
    }

    /// MX: floats of a data type, 32 of which share a power of two by OCP's rounding. MXFP4 is MX of `Float4E2M1`; MXFP8 is MX
    /// of `Float8E4M3Fn` or `Float8E5M2`.
    ///
    /// ```
    /// use lowbit::{DType, ptq::WeightScheme};
    /// assert_eq!(WeightScheme::mx(DType::Float4E2M1).to_string(), "MX float4e2m1");
    /// ```
    #[must_use]
    pub const fn mx(dtype: DType) -> Self {
        Self { granularity: WeightGranularity::Mx(BlockRounding::Floor), ..Self::float(dtype) }
    }

    /// NVFP4: E2M1 in blocks of 16 with E4M3 scales and one float32 scale.
    #[must_use]
    pub const fn nvfp4() -> Self {
        Self { granularity: WeightGranularity::Nvfp4, ..Self::float(DType::Float4E2M1) }
    }

    /// The numbers that codes stand for.
    pub(super) fn numbers(&self) -> Numbers {
        if let Some(layout) = self.codes.minifloat() {
            return Numbers::Floats(layout);
        }
        let half = 1 << (self.codes.bits() - 1);
        let (low, high) = if self.symmetric { (1 - half, half - 1) } else { (0, 2 * half - 1) };
        Numbers::Integers { low, high }
    }

    /// The narrowest tensor data type that holds the codes.
    #[must_use]
    pub fn format(&self) -> DType {
        match (self.codes, self.symmetric) {
            (CodeFormat::Float(format), _) => format,
            (CodeFormat::Int(..=2), true) => DType::Int2,
            (CodeFormat::Int(..=2), false) => DType::Uint2,
            (CodeFormat::Int(3..=4), true) => DType::Int4,
            (CodeFormat::Int(3..=4), false) => DType::Uint4,
            (CodeFormat::Int(_), true) => DType::Int8,
            (CodeFormat::Int(_), false) => DType::Uint8,
        }
    }

    /// The [`PackedWeights`](crate::weights::PackedWeights) codes that hold these codes; unsigned ones are stored minus half
    /// their range.
    pub(super) fn packed_codes(&self) -> Codes {
        match self.codes {
            CodeFormat::Float(format) => Codes::of_float(format).expect("checked when made"),
            CodeFormat::Int(bits) => Codes::int(bits.into()),
        }
    }

    /// Number of weights that share a scale in a row of this length.
    pub(super) fn group(&self, row_length: usize) -> usize {
        match self.granularity {
            WeightGranularity::Tensor | WeightGranularity::Channel => row_length,
            WeightGranularity::Group(size) => size.min(row_length),
            WeightGranularity::Mx(_) => 32.min(row_length),
            WeightGranularity::Nvfp4 => 16.min(row_length),
        }
    }

    /// True if rows of this length are integers with one scale each. [`Conv`](crate::ops::Conv) and
    /// [`Matmul`](crate::ops::Matmul) multiply only those.
    pub(super) fn has_integer_rows(&self, row_length: usize) -> bool {
        matches!(self.codes, CodeFormat::Int(_)) && self.group(row_length) == row_length
    }

    /// The block format for weights of at most this magnitude; `None` if the granularity has no blocks.
    pub(super) fn block(&self, greatest: f32) -> Result<Option<BlockFormat>> {
        match self.granularity {
            WeightGranularity::Mx(rounding) => BlockFormat::mx(self.format(), rounding).map(Some),
            WeightGranularity::Nvfp4 => BlockFormat::nvfp4_for(greatest).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        self.codes.check("weights")?;
        require!(self.granularity != WeightGranularity::Group(0), "groups of 0 weights: a group holds at least 1");
        require!(
            self.symmetric || matches!(self.codes, CodeFormat::Int(_)),
            "weights in {} with zero points were asked for: floats are symmetric",
            self.codes
        );
        let block = self.block(1.0)?;
        require!(
            block.is_none_or(|block| self.codes == CodeFormat::Float(block.element())),
            "blocks of {} were asked for, but NVFP4 has blocks of float4e2m1, and MX is for floats here",
            self.codes
        );
        Ok(())
    }

    /// Scale and zero point of a range. The scale is at least `floor`, except for blocks. A range of only 0 has scale 1.
    pub(super) fn grid(&self, low: f64, high: f64, floor: f64, block: Option<&BlockFormat>) -> Grid {
        let numbers = self.numbers();
        let (low, high) = (low.min(0.0), high.max(0.0));
        let size = high.max(-low);
        if let Some(block) = block {
            let stored = block.scale_number(block.scale_code(size as f32));
            return Grid { stored, scale: stored * block.unit(), zero_point: 0, numbers };
        }
        let scale = match numbers {
            Numbers::Integers { low: least, high: greatest } if !self.symmetric => {
                (high - low) / f64::from(greatest - least)
            }
            _ => size / numbers.greatest(),
        };
        let scale = usable(scale.max(floor));
        let zero_point = match numbers {
            Numbers::Integers { low: least, high: greatest } if !self.symmetric => {
                ((-low / f64::from(scale)).round_ties_even() as i32).clamp(least, greatest)
            }
            _ => 0,
        };
        Grid { stored: scale, scale, zero_point, numbers }
    }
}

impl fmt::Display for WeightScheme {
    /// `int4 per channel`, `float4e2m1 in groups of 32`, `MX float4e2m1`, `NVFP4`. Zero points and clipping are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.granularity {
            WeightGranularity::Tensor => write!(f, "{} per tensor", self.codes),
            WeightGranularity::Channel => write!(f, "{} per channel", self.codes),
            WeightGranularity::Group(size) => write!(f, "{} in groups of {size}", self.codes),
            WeightGranularity::Mx(_) => write!(f, "MX {}", self.codes),
            WeightGranularity::Nvfp4 => f.write_str("NVFP4"),
        }
    }
}

/// The scale in f32; 1 if it is too small for a normal f32.
fn usable(scale: f64) -> f32 {
    let scale = scale as f32;
    if scale.is_normal() { scale } else { 1.0 }
}

/// The numbers that codes stand for before they are scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Numbers {
    Integers { low: i32, high: i32 },
    Floats(Minifloat),
}

impl Numbers {
    pub(super) fn greatest(self) -> f64 {
        match self {
            Self::Integers { high, .. } => high.into(),
            Self::Floats(layout) => layout.decode(layout.greatest).into(),
        }
    }

    /// True if `code` is one of the codes and stands for a finite number.
    pub(super) fn holds(self, code: i32) -> bool {
        match self {
            Self::Integers { low, high } => (low..=high).contains(&code),
            Self::Floats(layout) => (0..1 << layout.width).contains(&code) && layout.decode(code as u32).is_finite(),
        }
    }

    /// The number that a code stands for, before the scale multiplies it.
    pub(super) fn value(self, code: i32, zero_point: i32) -> f32 {
        match self {
            Self::Integers { .. } => (code - zero_point) as f32,
            Self::Floats(layout) => layout.decode(code as u32),
        }
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integers { low, high } => write!(f, "{low} to {high}"),
            Self::Floats(layout) => write!(f, "finite floats of {} bits", layout.width),
        }
    }
}

/// The numbers that codes stand for after they are scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// The scale as the scheme stores it. For NVFP4 it leaves out the scale of all blocks.
    pub stored: f32,
    pub scale: f32,
    pub zero_point: i32,
    pub numbers: Numbers,
}

impl Grid {
    pub(super) fn nearest(self, value: f64) -> i32 {
        let steps = value / f64::from(self.scale);
        match self.numbers {
            Numbers::Integers { low, high } => {
                (steps.round_ties_even() + f64::from(self.zero_point)).clamp(low.into(), high.into()) as i32
            }
            // `steps` is the f32 quotient if both operands are f32 values.
            Numbers::Floats(layout) => layout.encode_quotient(steps as f32, true) as i32,
        }
    }

    /// The number that the scale multiplies.
    pub(super) fn step(self, code: i32) -> f64 {
        self.numbers.value(code, self.zero_point).into()
    }

    pub(super) fn value(self, code: i32) -> f64 {
        f64::from(self.scale) * self.step(code)
    }
}

/// Codes, scale and zero point of an activation tensor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ActivationFile")]
pub struct ActivationQuantization {
    codes: CodeFormat,
    scale: f32,
    zero_point: i32,
}

/// The serialized form, not yet checked.
#[derive(Deserialize)]
struct ActivationFile {
    codes: CodeFormat,
    scale: f32,
    zero_point: i32,
}

impl TryFrom<ActivationFile> for ActivationQuantization {
    type Error = Error;

    fn try_from(file: ActivationFile) -> Result<Self> {
        Self::new(file.codes, file.scale, file.zero_point)
    }
}

impl ActivationQuantization {
    /// Rounded to float16, not quantized.
    pub const FLOAT16: Self = Self { codes: CodeFormat::Float(DType::Float16), scale: 1.0, zero_point: 0 };

    /// The quantization of these parts: the codes (integers 0 … 2ᵇ − 1, stored as uint8, floats of at most 8 bits, or float16),
    /// the scale that multiplies them, and the code of 0.
    ///
    /// If the codes are others, the scale is not finite and positive, or the zero point is not a code. The zero point of floats
    /// must be 0, and the scale of float16 must be 1.
    /// the scale 1.
    pub fn new(codes: CodeFormat, scale: f32, zero_point: i32) -> Result<Self> {
        codes.check_activations()?;
        let made = Self { codes, scale, zero_point };
        let zeros = if made.is_integer() { 0..=made.greatest() } else { 0..=0 };
        require!(
            codes != CodeFormat::Float(DType::Float32)
                && (made == Self::FLOAT16 || codes != Self::FLOAT16.codes)
                && scale.is_finite()
                && scale > 0.0
                && zeros.contains(&zero_point),
            "activations in {codes} with the scale {scale:e} and the zero point {zero_point} are not possible: give a scale that is \
             finite and positive, 1 for float16, and a zero point in {zeros:?}"
        );
        Ok(made)
    }

    /// The data type of codes.
    #[must_use]
    pub fn codes(&self) -> CodeFormat {
        self.codes
    }

    /// The factor that multiplies codes.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The code of 0; 0 for floats.
    #[must_use]
    pub fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// The quantization of a range, extended to include 0. Integers: `scale = (high − low) / (2ᵇ − 1)`,
    /// `zero_point = round_ties_even(−low / scale)`. Floats of at most 8 bits: `scale = max(−low, high) / greatest`. A range of
    /// only 0 has scale 1.
    ///
    /// # Errors
    /// If the codes are not integers of 2 to 8 bits or floats of at most 8, or the range is not finite.
    pub fn from_range(codes: CodeFormat, low: f32, high: f32) -> Result<Self> {
        codes.check("activations")?;
        require!(
            low.is_finite() && high.is_finite() && low <= high,
            "activations range from {low} to {high}: a range must be finite"
        );
        let scheme = WeightScheme { codes, symmetric: codes.minifloat().is_some(), ..WeightScheme::per_channel(8) };
        let grid = scheme.grid(low.into(), high.into(), 0.0, None);
        Ok(Self { codes, scale: grid.scale, zero_point: grid.zero_point })
    }

    /// The data type of tensors that hold the codes.
    #[must_use]
    pub fn format(&self) -> DType {
        match self.codes {
            CodeFormat::Int(_) => DType::Uint8,
            CodeFormat::Float(format) => format,
        }
    }

    /// True if codes are integers.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.codes, CodeFormat::Int(_))
    }

    /// The greatest code. For floats it is the bits of the greatest number. The least integer code is 0.
    #[must_use]
    pub fn greatest(&self) -> i32 {
        match (self.codes, self.codes.minifloat()) {
            (CodeFormat::Int(bits), _) => (1 << bits) - 1,
            (_, Some(layout)) => layout.greatest as i32,
            _ => f16::MAX.to_bits().into(),
        }
    }

    /// The code of a number. For floats it is their bits.
    #[must_use]
    pub fn code(&self, value: f32) -> i32 {
        match (self.codes, self.codes.minifloat()) {
            (CodeFormat::Int(_), _) => quantize(value, self.scale, self.zero_point, 0, self.greatest()),
            (_, Some(layout)) => layout.encode_quotient(value / self.scale, true) as i32,
            _ => f16::from_f32(value).to_bits().into(),
        }
    }

    /// The number that a code stands for.
    #[must_use]
    pub fn value(&self, code: i32) -> f32 {
        match (self.codes, self.codes.minifloat()) {
            (CodeFormat::Int(_), _) => self.scale * code.saturating_sub(self.zero_point) as f32,
            (_, Some(layout)) => self.scale * layout.decode(code as u32),
            _ => f16::from_bits(code as u16).to_f32(),
        }
    }

    /// The number after quantization and dequantization.
    #[must_use]
    pub fn round(&self, value: f32) -> f32 {
        self.value(self.code(value))
    }

    /// The least and the greatest number that are not clipped: half a step beyond the outermost codes.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn covered(&self) -> (f32, f32) {
        let greatest = self.value(self.greatest());
        let half = (greatest - self.value(self.greatest() - 1)) / 2.0;
        let least = if self.is_integer() { self.value(0) } else { -greatest };
        (least - half, greatest + half)
    }
}
