//! How many bits, and what shares a scale: the choices of quantization as data, and what a range becomes by them. Finding
//! ranges and rounding lies elsewhere.

use serde::{Deserialize, Serialize};

use crate::error::{Result, require};
use crate::numeric::{Format, quantize};

/// How the weights of a layer become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WeightScheme {
    /// Of a code, 2 to 8.
    pub bits: u8,
    /// Zero points are 0, and codes −(2ᵇ⁻¹ − 1) … 2ᵇ⁻¹ − 1; else 0 … 2ᵇ − 1 with a zero point for each scale.
    pub symmetric: bool,
    /// What shares a scale.
    pub granularity: WeightGranularity,
    /// How scales are found.
    pub clipping: Clipping,
}

/// Which weights share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightGranularity {
    /// All of a layer.
    Tensor,
    /// Those of an output.
    Channel,
    /// Runs of so many weights of an output; the last may be shorter.
    Group(usize),
}

/// How the range that codes cover is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clipping {
    /// It holds every weight.
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
        Self { bits, symmetric: true, granularity: WeightGranularity::Channel, clipping: Clipping::MinMax }
    }

    /// The least and greatest code.
    #[must_use]
    pub fn range(&self) -> (i32, i32) {
        let half = 1 << (self.bits - 1);
        if self.symmetric { (1 - half, half - 1) } else { (0, 2 * half - 1) }
    }

    /// The narrowest tensor format that holds the codes.
    #[must_use]
    pub fn format(&self) -> Format {
        match (self.bits, self.symmetric) {
            (..=2, true) => Format::Int2,
            (..=2, false) => Format::Uint2,
            (3..=4, true) => Format::Int4,
            (3..=4, false) => Format::Uint4,
            (_, true) => Format::Int8,
            (_, false) => Format::Uint8,
        }
    }

    /// How many weights of a row of this length share a scale.
    pub(super) fn group(&self, row_length: usize) -> usize {
        match self.granularity {
            WeightGranularity::Group(size) => size.min(row_length),
            _ => row_length,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        require!((2..=8).contains(&self.bits), "weights of {} bits were asked for: it may be 2 to 8", self.bits);
        require!(self.granularity != WeightGranularity::Group(0), "groups of 0 weights: a group holds at least 1");
        Ok(())
    }

    /// Scale and zero point of a range, at least `floor`. A range of nothing but 0 has scale 1.
    pub(super) fn grid(&self, low: f64, high: f64, floor: f64) -> Grid {
        let (least, greatest) = self.range();
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = if self.symmetric {
            high.max(-low) / f64::from(greatest)
        } else {
            (high - low) / f64::from(greatest - least)
        };
        let scale = usable(scale.max(floor));
        let zero_point = if self.symmetric { 0 } else { (-low / f64::from(scale)).round_ties_even() as i32 };
        Grid { scale, zero_point: zero_point.clamp(least, greatest), low: least, high: greatest }
    }
}

/// A scale that f32 holds: 1 for one that is too small.
fn usable(scale: f64) -> f32 {
    let scale = scale as f32;
    if scale.is_normal() { scale } else { 1.0 }
}

/// The numbers that codes can mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub scale: f32,
    pub zero_point: i32,
    pub low: i32,
    pub high: i32,
}

impl Grid {
    pub(super) fn nearest(self, value: f64) -> i32 {
        let steps = (value / f64::from(self.scale)).round_ties_even() + f64::from(self.zero_point);
        steps.clamp(self.low.into(), self.high.into()) as i32
    }

    pub(super) fn value(self, code: i32) -> f64 {
        f64::from(self.scale) * f64::from(code - self.zero_point)
    }
}

/// Scale and zero point of a tensor that is computed on the way: codes 0 … 2ᵇ − 1, stored as uint8.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ActivationQuantization {
    /// Of a code, 2 to 8.
    pub bits: u8,
    /// The step.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: i32,
}

impl ActivationQuantization {
    /// That of a range, into which 0 is taken: `scale = (high − low) / (2ᵇ − 1)`, `zero_point = round_ties_even(−low / scale)`.
    /// A range of nothing but 0 has scale 1.
    ///
    /// # Errors
    /// If bits are not 2 to 8, or the range is not finite.
    pub fn from_range(bits: u8, low: f32, high: f32) -> Result<Self> {
        require!((2..=8).contains(&bits), "activations of {bits} bits were asked for: it may be 2 to 8");
        require!(
            low.is_finite() && high.is_finite() && low <= high,
            "activations range from {low} to {high}: a range must be finite"
        );
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let greatest = f64::from((1u32 << bits) - 1);
        let scale = usable((high - low) / greatest);
        let zero_point = (-low / f64::from(scale)).round_ties_even().clamp(0.0, greatest) as i32;
        Ok(Self { bits, scale, zero_point })
    }

    /// The greatest code; the least is 0.
    #[must_use]
    pub fn greatest(&self) -> i32 {
        (1 << self.bits) - 1
    }

    /// The code of a number.
    #[must_use]
    pub fn code(&self, value: f32) -> i32 {
        quantize(value, self.scale, self.zero_point, 0, self.greatest())
    }

    /// What a code means.
    #[must_use]
    pub fn value(&self, code: i32) -> f32 {
        self.scale * (code - self.zero_point) as f32
    }

    /// The number that a number becomes.
    #[must_use]
    pub fn round(&self, value: f32) -> f32 {
        self.value(self.code(value))
    }
}
