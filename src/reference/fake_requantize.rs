//! The meaning of `ops::RequantParams` and `ops::FakeRequantize`. GPU twins: `shaders/train/requant_params.wgsl`,
//! `shaders/train/fake_requantize.wgsl`, `shaders/train/fake_requantize_sum.wgsl`.

use super::Meaning;
use super::bound::Products;
use crate::error::Result;
use crate::numeric::{self, finite, positive};
use crate::ops::{FakeRequantize, FakeRequantizeOutput, RequantParams};
use crate::tensor::Tensor;

impl Meaning for RequantParams {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![requant_params(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

impl Meaning for FakeRequantize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![fake_requantize(self, inputs)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        tolerance(self, inputs)
    }
}

pub(super) fn requant_params(op: &RequantParams, inputs: &[&Tensor]) -> Tensor {
    let [x, weights, bias, y] = [0, 1, 2, 3].map(|i| inputs[i].values::<f32>().expect("checked by run"));
    let entry = |(&w, &b): (&f32, &f32)| {
        let combined = positive(positive(x[0]) * positive(w));
        let bias = numeric::round_saturating(finite(b) / combined, i32::MIN, i32::MAX);
        let multiplier = positive(combined / positive(y[0]));
        [bias, multiplier.to_bits() as i32, combined.to_bits() as i32, 0]
    };
    let entries = weights.iter().zip(bias).flat_map(entry).collect();
    Tensor::from_values(op.table.clone(), entries)
}

/// One sum with its entry of the table.
struct Stage {
    sum: f32,
    multiplier: f32,
    combined: f32,
}

impl Stage {
    fn steps(&self) -> f32 {
        self.sum * self.multiplier
    }
}

fn stages<'a>(op: &'a FakeRequantize, inputs: &'a [&Tensor]) -> impl Iterator<Item = Stage> + 'a {
    let (sums, table) =
        (inputs[0].values::<f32>().expect("checked by run"), inputs[1].values::<i32>().expect("checked by run"));
    let channels = op.sums.shape().row_length();
    sums.iter().enumerate().map(move |(i, &sum)| {
        let entry = &table[i % channels * 4..][..4];
        let float = |i: usize| positive(f32::from_bits(entry[i] as u32));
        let sum = (sum as i32).wrapping_add(entry[0]) as f32;
        Stage { sum, multiplier: float(1), combined: float(2) }
    })
}

/// True if the gradient passes for this number of steps, and the factor of `dy` in the gradient of the step.
fn pass(op: &FakeRequantize, steps: f32) -> (bool, f32) {
    let passes = steps > op.low as f32 && steps < op.high as f32;
    let level = numeric::round_saturating(steps, op.low, op.high) as f32;
    (passes, if passes { level - steps } else { level })
}

pub(super) fn fake_requantize(op: &FakeRequantize, inputs: &[&Tensor]) -> Tensor {
    let values: Vec<f32> = match op.makes {
        FakeRequantizeOutput::Levels => {
            stages(op, inputs).map(|stage| numeric::round_saturating(stage.steps(), op.low, op.high) as f32).collect()
        }
        FakeRequantizeOutput::Real => stages(op, inputs).map(|stage| stage.sum * stage.combined).collect(),
        FakeRequantizeOutput::Gradient => {
            let gradient = inputs[2].values::<f32>().expect("checked by run");
            stages(op, inputs).zip(gradient).map(|(s, &g)| if pass(op, s.steps()).0 { g } else { 0.0 }).collect()
        }
        FakeRequantizeOutput::StepGradient => {
            let sum = step_gradient(op, inputs).value * f64::from(op.gradient_scale);
            return Tensor::from_values(crate::ops::Op::from(op.clone()).outputs().remove(0), vec![sum as f32]);
        }
    };
    Tensor::from_values(op.sums.clone(), values)
}

/// The sum before scaling.
fn step_gradient(op: &FakeRequantize, inputs: &[&Tensor]) -> Products {
    let gradient = inputs[2].values::<f32>().expect("checked by run");
    let mut sum = Products::default();
    stages(op, inputs).zip(gradient).for_each(|(stage, &g)| sum.add(pass(op, stage.steps()).1.into(), g.into()));
    sum
}

/// The bound that the op documents; `None` if the op is exact.
pub(super) fn tolerance(op: &FakeRequantize, inputs: &[&Tensor]) -> Option<Vec<f32>> {
    if op.makes != FakeRequantizeOutput::StepGradient {
        return None;
    }
    let n = op.sums.shape().elements();
    let operations = n.min(8192 + n / 8192) + 4;
    Some(vec![step_gradient(op, inputs).tolerance(n, operations, op.gradient_scale.into())])
}
