//! The meaning of `ops::FakeQuantize`, `ops::FakeQuantizeGradient` and `ops::GridGradient`. GPU twins:
//! `shaders/train/fake_quantize.wgsl`, `shaders/train/fake_gradient.wgsl`, `shaders/train/fake_sum.wgsl`, with a part
//! `shaders/train/grid_*.wgsl`.

use super::Meaning;
use super::bound::Products;
use crate::error::Result;
use crate::numeric::{self, QuantizationParams, finite, positive};
use crate::ops::{FakeQuantize, FakeQuantizeGradient, Grid, GridGradient};
use crate::tensor::Tensor;

impl Meaning for FakeQuantize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![fake_quantize(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

impl Meaning for FakeQuantizeGradient {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![fake_quantize_gradient(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

impl Meaning for GridGradient {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![grid_gradient(self, inputs)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs))
    }
}

/// A grid with the parameters of one range.
#[derive(Clone, Copy)]
enum Fitted {
    Affine { scale: f32, zero_point: i32 },
    Step { step: f32 },
    Range { scale: f32, inverse: f32, min: f32, max: f32 },
}

/// The results for one number.
struct Passed {
    y: f32,
    level: f32,
    passes: bool,
    /// The factors of a number's `dy` in the gradients of the parameters.
    shares: [f32; 2],
}

fn fitted(op: &FakeQuantize, parameters: &Tensor, index: usize) -> Fitted {
    let floats = || parameters.values::<f32>().expect("checked by run");
    match op.grid {
        Grid::Affine => {
            let all = parameters.values::<QuantizationParams>().expect("checked by run");
            let QuantizationParams { scale, zero_point } = all[index];
            Fitted::Affine { scale: positive(scale), zero_point: zero_point.clamp(op.low, op.high) }
        }
        Grid::Step => Fitted::Step { step: positive(floats()[index]) },
        Grid::Range => {
            let (min, max) = (finite(floats()[2 * index]), finite(floats()[2 * index + 1]));
            let (low, high) = (op.low as f32, op.high as f32);
            let scale = positive(finite(max - min) / (high - low));
            let zero_point = ((low - min / scale) + 0.5).floor().clamp(low, high);
            let nudged = |code: f32| finite((code - zero_point) * scale);
            Fitted::Range { scale, inverse: 1.0 / scale, min: nudged(low), max: nudged(high) }
        }
    }
}

fn pass(op: &FakeQuantize, x: f32, fitted: Fitted) -> Passed {
    let (low, high) = (op.low, op.high);
    match fitted {
        Fitted::Affine { scale, zero_point } => {
            let level = (numeric::quantize(x, scale, zero_point, low, high) - zero_point) as f32;
            let code = f64::from((x / scale).round_ties_even()) + f64::from(zero_point);
            let passes = (f64::from(low)..=f64::from(high)).contains(&code);
            Passed { y: level * scale, level, passes, shares: [0.0; 2] }
        }
        Fitted::Step { step } => {
            let level = numeric::quantize(x, step, 0, low, high) as f32;
            let v = x / step;
            let passes = v > low as f32 && v < high as f32;
            let share = if passes { level - v } else { level };
            Passed { y: level * step, level, passes, shares: [share, 0.0] }
        }
        Fitted::Range { scale, inverse, min, max } => {
            // NaN counts as the lower bound.
            let clamped = if x > min { x.min(max) } else { min };
            let level = finite((finite(clamped - min) * inverse + 0.5).floor());
            let y = finite(level * scale + min);
            let passes = x >= min && x <= max;
            let shares = [f32::from(u8::from(x < min)), f32::from(u8::from(x > max))];
            Passed { y, level: y, passes, shares }
        }
    }
}

fn each(op: &FakeQuantize, inputs: &[&Tensor]) -> impl Iterator<Item = (usize, Passed)> {
    let fitted: Vec<Fitted> = (0..op.parameters.dims()[0]).map(|index| fitted(op, inputs[1], index)).collect();
    let values = inputs[0].values::<f32>().expect("checked by run").to_vec();
    values.into_iter().enumerate().map(move |(i, x)| {
        let index = op.granularity.index(op.input.shape(), i);
        (index, pass(op, x, fitted[index]))
    })
}

pub(super) fn fake_quantize(op: &FakeQuantize, inputs: &[&Tensor]) -> Tensor {
    let y = each(op, inputs).map(|(_, passed)| if op.levels { passed.level } else { passed.y });
    Tensor::from_values(op.input.clone(), y.collect())
}

pub(super) fn fake_quantize_gradient(op: &FakeQuantizeGradient, inputs: &[&Tensor]) -> Tensor {
    let dy = inputs[2].values::<f32>().expect("checked by run");
    let passed = each(&op.forward, inputs).zip(dy).map(|((_, passed), &dy)| if passed.passes { dy } else { 0.0 });
    Tensor::from_values(op.forward.input.clone(), passed.collect())
}

/// The sum for each parameter.
fn sums(op: &GridGradient, inputs: &[&Tensor]) -> Vec<Products> {
    let dy = inputs[2].values::<f32>().expect("checked by run");
    let per_range = if op.forward.grid == Grid::Range { 2 } else { 1 };
    let mut sums = vec![Products::default(); op.forward.parameters.dims()[0] * per_range];
    for ((index, passed), &dy) in each(&op.forward, inputs).zip(dy) {
        for (i, &share) in passed.shares[..per_range].iter().enumerate() {
            let sum = &mut sums[index * per_range + i];
            if share != 0.0 {
                sum.add(share.into(), dy.into());
            } else if !dy.is_finite() {
                // A device multiplies `dy` by 0.
                sum.size = f64::INFINITY;
            }
        }
    }
    sums
}

pub(super) fn grid_gradient(op: &GridGradient, inputs: &[&Tensor]) -> Tensor {
    let scaled = sums(op, inputs).into_iter().map(|sum| (sum.value * f64::from(op.gradient_scale)) as f32).collect();
    Tensor::from_values(op.forward.parameters.clone(), scaled)
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &GridGradient, inputs: &[&Tensor]) -> Vec<f32> {
    let n = op.forward.per_range();
    let operations = n.min(8192 + n / 8192) + 4;
    sums(op, inputs).into_iter().map(|sum| sum.tolerance(n, operations, op.gradient_scale.into())).collect()
}
