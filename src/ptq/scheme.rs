//! What codes are, and what shares a scale: the choices of quantization as data, and what a range becomes by them. Finding
//! ranges and rounding lies elsewhere.

use std::fmt;

use half::f16;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, require};
use crate::numeric::{BlockFormat, BlockRounding, DType, Minifloat, quantize};
use crate::weights::Codes;

/// What codes are, before a scale makes real numbers of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeFormat {
    /// Integers of so many bits, 2 to 8.
    Int(u8),
    /// Floats: `Float8E4M3Fn`, `Float8E5M2`, `Float4E2M1` and the others of at most 8 bits. What layers read may also be
    /// `Float16` or `Float32`, neither of which has a scale: that is not quantized.
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

    /// Refuses what has no scale.
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

    /// What layers may read, beside codes with a scale: float16 and float32.
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

/// How the weights of a layer become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WeightScheme {
    /// What codes are: integers, or floats of at most 8 bits.
    pub codes: CodeFormat,
    /// Zero points are 0, and integers −(2ᵇ⁻¹ − 1) … 2ᵇ⁻¹ − 1; else 0 … 2ᵇ − 1 with a zero point for each scale. Floats are
    /// symmetric.
    pub symmetric: bool,
    /// What shares a scale.
    pub granularity: WeightGranularity,
    /// How scales are found.
    pub clipping: WeightClipping,
}

/// Which weights share a scale, and how that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightGranularity {
    /// All of a layer, a float32.
    Tensor,
    /// Those of an output, a float32.
    Channel,
    /// Runs of so many weights of an output, a float32; the last may be shorter.
    Group(usize),
    /// Runs of 32, a power of two that follows from the largest of them: the blocks of [`BlockFormat::mx`], of floats only.
    Mx(BlockRounding),
    /// Runs of 16, an E4M3 of which all are multiplied by one float32: the blocks of [`BlockFormat::nvfp4_for`], of E2M1 only.
    Nvfp4,
}

/// How the range that codes cover is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightClipping {
    /// It holds every weight, as far as scales can be chosen freely.
    MinMax,
    /// Of the range of all weights and fractions of it that with the least mean square error of the weights.
    Mse,
    /// The same with the least mean square error of the layer's outputs on the calibration data (as AIMET's SeqMSE and AWQ's
    /// clipping).
    Output,
}

impl WeightScheme {
    /// Symmetric codes of so many bits with a scale per output that holds every weight.
    #[must_use]
    pub const fn per_channel(bits: u8) -> Self {
        Self {
            codes: CodeFormat::Int(bits),
            symmetric: true,
            granularity: WeightGranularity::Channel,
            clipping: WeightClipping::MinMax,
        }
    }

    /// Floats of a format with a scale per output: `max|w| / greatest`, with 448 for E4M3, 57,344 for E5M2, 6 for E2M1.
    #[must_use]
    pub const fn float(dtype: DType) -> Self {
        Self { codes: CodeFormat::Float(dtype), ..Self::per_channel(8) }
    }

    /// MX: floats of a format, 32 of which share a power of two by OCP's rounding. MXFP4 is that of `Float4E2M1`, MXFP8 that of
    /// `Float8E4M3Fn` or `Float8E5M2`.
    ///
    /// ```
    /// use lowbit::{DType, ptq::WeightScheme};
    /// assert_eq!(WeightScheme::mx(DType::Float4E2M1).to_string(), "MX float4e2m1");
    /// ```
    #[must_use]
    pub const fn mx(dtype: DType) -> Self {
        Self { granularity: WeightGranularity::Mx(BlockRounding::Floor), ..Self::float(dtype) }
    }

    /// NVFP4.
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

    /// The narrowest tensor format that holds the codes.
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

    /// The codes of [`PackedWeights`](crate::weights::PackedWeights) that hold them, unsigned ones less half their range.
    pub(super) fn packed_codes(&self) -> Codes {
        match self.codes {
            CodeFormat::Float(format) => Codes::of_float(format).expect("checked when made"),
            CodeFormat::Int(..=2) => Codes::Int2,
            CodeFormat::Int(3) => Codes::Int3,
            CodeFormat::Int(4) => Codes::Int4,
            CodeFormat::Int(5) => Codes::Int5,
            CodeFormat::Int(6) => Codes::Int6,
            CodeFormat::Int(_) => Codes::Int8,
        }
    }

    /// How many weights of a row of this length share a scale.
    pub(super) fn group(&self, row_length: usize) -> usize {
        match self.granularity {
            WeightGranularity::Tensor | WeightGranularity::Channel => row_length,
            WeightGranularity::Group(size) => size.min(row_length),
            WeightGranularity::Mx(_) => 32.min(row_length),
            WeightGranularity::Nvfp4 => 16.min(row_length),
        }
    }

    /// Whether rows of this length are integers with one scale each, which is what [`Conv`](crate::ops::Conv) and
    /// [`Matmul`](crate::ops::Matmul) multiply.
    pub(super) fn has_integer_rows(&self, row_length: usize) -> bool {
        matches!(self.codes, CodeFormat::Int(_)) && self.group(row_length) == row_length
    }

    /// The format of the blocks, if it is one, of weights that are at most of this size.
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

    /// Scale and zero point of a range, at least `floor` where they are free. A range of nothing but 0 has scale 1.
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
    /// `int4 per channel`, `float4e2m1 in groups of 32`, `MX float4e2m1`, `NVFP4`; zero points and clipping are not said.
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

/// A scale that f32 holds: 1 for one that is too small.
fn usable(scale: f64) -> f32 {
    let scale = scale as f32;
    if scale.is_normal() { scale } else { 1.0 }
}

/// What codes stand for before they are scaled.
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

    /// Whether a code is one, and finite.
    pub(super) fn holds(self, code: i32) -> bool {
        match self {
            Self::Integers { low, high } => (low..=high).contains(&code),
            Self::Floats(layout) => (0..1 << layout.width).contains(&code) && layout.decode(code as u32).is_finite(),
        }
    }

    /// The number that a code stands for, which the scale multiplies.
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

/// The numbers that codes can mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// The scale as the scheme stores it: of NVFP4 without that of all blocks.
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
            // The f32 quotient of two f32, if that is what they are.
            Numbers::Floats(layout) => layout.encode_quotient(steps as f32, true) as i32,
        }
    }

    /// What the scale multiplies.
    pub(super) fn step(self, code: i32) -> f64 {
        self.numbers.value(code, self.zero_point).into()
    }

    pub(super) fn value(self, code: i32) -> f64 {
        f64::from(self.scale) * self.step(code)
    }
}

/// Codes, scale and zero point of a tensor that is computed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ActivationFile")]
pub struct ActivationQuantization {
    codes: CodeFormat,
    scale: f32,
    zero_point: i32,
}

/// What a file says.
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
    /// Not quantized, but rounded to float16.
    pub const FLOAT16: Self = Self { codes: CodeFormat::Float(DType::Float16), scale: 1.0, zero_point: 0 };

    /// What codes are (integers 0 … 2ᵇ − 1, stored as uint8, floats of at most 8 bits, or float16), what they are multiplied by, and
    /// the code of 0.
    ///
    /// # Errors
    /// If codes are others, the scale is not finite and positive, or the zero point is no code; that of floats is 0, and float16 has
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

    /// What codes are.
    #[must_use]
    pub fn codes(&self) -> CodeFormat {
        self.codes
    }

    /// What codes are multiplied by.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The code of 0; 0 for floats.
    #[must_use]
    pub fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// That of a range, into which 0 is taken. Integers: `scale = (high − low) / (2ᵇ − 1)`,
    /// `zero_point = round_ties_even(−low / scale)`. Floats of at most 8 bits: `scale = max(−low, high) / greatest`. A range of
    /// nothing but 0 has scale 1.
    ///
    /// # Errors
    /// If codes are not integers of 2 to 8 bits or floats of at most 8, or the range is not finite.
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

    /// The format of tensors that hold the codes.
    #[must_use]
    pub fn format(&self) -> DType {
        match self.codes {
            CodeFormat::Int(_) => DType::Uint8,
            CodeFormat::Float(format) => format,
        }
    }

    /// Whether codes are integers.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.codes, CodeFormat::Int(_))
    }

    /// The greatest code; that of floats the bits of the greatest number. The least integer is 0.
    #[must_use]
    pub fn greatest(&self) -> i32 {
        match (self.codes, self.codes.minifloat()) {
            (CodeFormat::Int(bits), _) => (1 << bits) - 1,
            (_, Some(layout)) => layout.greatest as i32,
            _ => f16::MAX.to_bits().into(),
        }
    }

    /// The code of a number; of floats their bits.
    #[must_use]
    pub fn code(&self, value: f32) -> i32 {
        match (self.codes, self.codes.minifloat()) {
            (CodeFormat::Int(_), _) => quantize(value, self.scale, self.zero_point, 0, self.greatest()),
            (_, Some(layout)) => layout.encode_quotient(value / self.scale, true) as i32,
            _ => f16::from_f32(value).to_bits().into(),
        }
    }

    /// What a code means.
    #[must_use]
    pub fn value(&self, code: i32) -> f32 {
        match (self.codes, self.codes.minifloat()) {
            (CodeFormat::Int(_), _) => self.scale * code.saturating_sub(self.zero_point) as f32,
            (_, Some(layout)) => self.scale * layout.decode(code as u32),
            _ => f16::from_bits(code as u16).to_f32(),
        }
    }

    /// The number that a number becomes.
    #[must_use]
    pub fn round(&self, value: f32) -> f32 {
        self.value(self.code(value))
    }

    /// The least and greatest number that is not clipped: half a step beyond the outermost codes.
    pub(crate) fn covered(&self) -> (f32, f32) {
        let greatest = self.value(self.greatest());
        let half = (greatest - self.value(self.greatest() - 1)) / 2.0;
        let least = if self.is_integer() { self.value(0) } else { -greatest };
        (least - half, greatest + half)
    }
}
