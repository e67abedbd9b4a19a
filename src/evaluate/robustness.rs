//! Inputs that are not like those a model was fitted to, and what becomes of its predictions. The same for a float model and a
//! quantized one, so that a drop can be told from the float model's own.

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
    /// Multiplies by this.
    Gain(f32),
    /// Adds this.
    Offset(f32),
    /// Replaces each pixel by the mean of it and its neighbours, this often, at most 1,000 times (images only).
    Blur(u32),
    /// Replaces this share of the numbers by one a hundred times the greatest magnitude, of either sign: far outside of what any
    /// range was fitted to.
    Spikes(f32),
}

impl Perturbation {
    /// The ones that reports use, mild to strong.
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

    /// What kind it is, and how strong.
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

    /// The strength at which it changes nothing.
    #[must_use]
    pub fn neutral(self) -> f64 {
        if matches!(self, Self::Gain(_)) { 1.0 } else { 0.0 }
    }

    /// Changed inputs, float32; random ones are the same for the same seed.
    ///
    /// # Errors
    /// If the input is not float32, or it is to be blurred more than 1,000 times.
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

/// The mean over the pixels of a 3 × 3 window that are in the image; rows have no neighbours.
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

/// A small generator (SplitMix64), so that a seed names the same inputs everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Above 0, to 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Box and Muller's way to a normal distribution.
    fn normal(&mut self) -> f32 {
        let (radius, angle) = ((-2.0 * self.unit().ln()).sqrt(), std::f64::consts::TAU * self.unit());
        (radius * angle.cos()) as f32
    }
}

/// What became of the predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    /// How the inputs were changed.
    pub perturbation: Perturbation,
    /// The accuracy of the float model on them, where there are labels.
    pub float: Option<ConfidenceInterval>,
    /// That of the quantized model.
    pub quantized: Option<ConfidenceInterval>,
    /// The share of rows that both put into the same class.
    pub agreement: f64,
    /// The share of numbers that are outside of the range that the quantized model's input codes cover; `None` where that
    /// range is found as they come.
    pub clipped: Option<f64>,
}
