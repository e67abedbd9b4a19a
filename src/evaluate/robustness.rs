//! Changes of inputs away from those a model was fitted to, and their effect on predictions. The float model and the quantized
//! one get equal changes, so a drop that both share isn't blamed on quantization.

use serde::{Deserialize, Serialize};

use super::metrics::ConfidenceInterval;
use crate::error::{Result, require};
use crate::tensor::Tensor;

/// A change of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Perturbation {
    /// Adds normally distributed numbers of this standard deviation.
    Noise(f32),
    /// Multiplies by this factor.
    Gain(f32),
    /// Adds this number.
    Offset(f32),
    /// Replaces each pixel by the mean of it and its neighbours, this many times, at most 1,000 (images only).
    Blur(u32),
    /// Replaces this share of the numbers by a hundred times the greatest magnitude, with a random sign: far outside any range
    /// that was fitted.
    Spikes(f32),
}

impl Perturbation {
    /// The perturbations that reports use, mild to strong.
    pub const DEFAULT: [Self; 16] = [
        Self::Noise(0.05),
        Self::Noise(0.1),
        Self::Noise(0.2),
        Self::Noise(0.3),
        Self::Gain(0.25),
        Self::Gain(0.5),
        Self::Gain(1.5),
        Self::Gain(2.5),
        Self::Offset(-0.5),
        Self::Offset(-0.25),
        Self::Offset(0.25),
        Self::Offset(0.5),
        Self::Blur(1),
        Self::Blur(2),
        Self::Spikes(0.01),
        Self::Spikes(0.05),
    ];

    /// The kind and the strength of the perturbation.
    #[must_use]
    pub fn describe(self) -> (&'static str, f64) {
        match self {
            Self::Noise(deviation) => ("noise", deviation.into()),
            Self::Gain(factor) => ("gain", factor.into()),
            Self::Offset(offset) => ("offset", offset.into()),
            Self::Blur(times) => ("blur", times.into()),
            Self::Spikes(share) => ("spikes", share.into()),
        }
    }

    /// The strength that changes nothing.
    #[must_use]
    pub fn neutral(self) -> f64 {
        if matches!(self, Self::Gain(_)) { 1.0 } else { 0.0 }
    }

    /// The changed inputs, float32. Equal seeds give equal inputs.
    ///
    /// # Errors
    /// If the input is not float32, or the perturbation blurs more than 1,000 times.
    pub fn apply(self, input: &Tensor, seed: u64) -> Result<Tensor> {
        let values = input.values::<f32>()?;
        let mut random = Random(seed);
        let changed = match self {
            Self::Noise(deviation) => values.iter().map(|x| x + deviation * random.normal()).collect(),
            Self::Gain(factor) => values.iter().map(|x| x * factor).collect(),
            Self::Offset(offset) => values.iter().map(|x| x + offset).collect(),
            Self::Blur(times) => {
                require!(times <= 1000, "inputs are to be blurred {times} times: make it at most 1,000");
                let mut values = values.to_vec();
                for _ in 0..times {
                    values = blurred(&values, input.dims());
                }
                values
            }
            Self::Spikes(share) => {
                let spike = 100.0 * values.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                let mut change = |&x: &f32| match (random.unit() < f64::from(share), random.unit() < 0.5) {
                    (false, _) => x,
                    (true, true) => spike,
                    (true, false) => -spike,
                };
                values.iter().map(&mut change).collect::<Vec<f32>>()
            }
        };
        Tensor::new(input.dims(), changed)
    }
}

/// Each pixel's mean over the part of its 3 × 3 window inside the image. Inputs other than images stay unchanged.
fn blurred(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let &[_, height, width, channels] = shape else { return values.to_vec() };
    let at = |i: usize| {
        let (c, x, y) = (i % channels, i / channels % width, i / channels / width % height);
        let first = i / (channels * width * height) * height;
        let (mut sum, mut count) = (0.0f32, 0.0f32);
        for y in y.saturating_sub(1)..(y + 2).min(height) {
            for x in x.saturating_sub(1)..(x + 2).min(width) {
                sum += values[((first + y) * width + x) * channels + c];
                count += 1.0;
            }
        }
        sum / count
    };
    (0..values.len()).map(at).collect()
}

/// SplitMix64, a small generator, so that a seed gives equal inputs everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniformly distributed, above 0 and at most 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Normally distributed, by the Box–Muller transform.
    fn normal(&mut self) -> f32 {
        let (radius, angle) = ((-2.0 * self.unit().ln()).sqrt(), std::f64::consts::TAU * self.unit());
        (radius * angle.cos()) as f32
    }
}

/// The predictions on inputs changed by one perturbation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Robustness {
    /// The change of the inputs.
    pub perturbation: Perturbation,
    /// The accuracy of the float model on them, if there are labels.
    pub float: Option<ConfidenceInterval>,
    /// The accuracy of the quantized model on them, if there are labels.
    pub quantized: Option<ConfidenceInterval>,
    /// The share of rows that both models put into the same class.
    pub agreement: f64,
    /// The share of numbers outside the range of the quantized model's input codes. `None` if that range is dynamic or the
    /// input is not quantized.
    pub clipped: Option<f64>,
}
