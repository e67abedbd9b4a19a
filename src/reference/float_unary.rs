//! The meaning of `ops::FloatUnary`, in f64. GPU twin: `shaders/elementwise/float_unary.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound};
use crate::error::Result;
use crate::ops::{FloatUnary, Function};
use crate::tensor::Tensor;

impl Meaning for FloatUnary {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![float_unary(self, inputs[0])])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs[0]))
    }
}

/// The function of a number, and the error bound of a device.
fn element(function: Function, x: f64) -> (f64, f64) {
    let (value, error) = match function {
        // The larger of two numbers; a subnormal one may count as zero.
        Function::Relu if x.is_nan() => return (x, x),
        Function::Relu => return (x.max(0.0), if x.is_infinite() || x.abs() < FLUSHED { x.abs() } else { 0.0 }),
        Function::Sigmoid => sigmoid(x, 2.0),
        Function::Tanh => (x.tanh(), 10.0 * UNIT),
        Function::Silu => {
            let (share, error) = sigmoid(x, 2.0);
            (x * share, x.abs() * error + UNIT * (x * share).abs())
        }
        Function::Gelu => {
            let value = x * normal(x);
            (value, x.abs() * 0.5f64.powi(17) + 4.0 * UNIT * value.abs())
        }
        Function::GeluTanh => {
            let a = (8.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            let (share, error) = sigmoid(a, 8.0);
            (x * share, x.abs() * error + UNIT * (x * share).abs())
        }
    };
    // The reference rounds too.
    (value, error + UNIT * value.abs() + 0.5f64.powi(120) * (1.0 + x.abs()))
}

/// 1 / (1 + e^-x), and the error of a device whose exponential is off by (3 + slope · |x|) units.
fn sigmoid(x: f64, slope: f64) -> (f64, f64) {
    let power = (-x.abs()).exp();
    let share = if x < 0.0 { power } else { 1.0 } / (1.0 + power);
    let error = (3.0 + slope * x.abs()) * power / (1.0 + power).powi(2) + 6.0 * share;
    (share, 1.25 * UNIT * error)
}

/// The standard normal distribution function: `1/2 + φ(x) · Σ x^(2i + 1) / (1 · 3 · … · (2i + 1))`.
fn normal(x: f64) -> f64 {
    let z = x.abs();
    if z > 12.0 {
        return if x < 0.0 { 0.0 } else { 1.0 };
    }
    let (mut term, mut sum, mut odd) = (z, z, 1.0);
    while term > 1e-18 * sum {
        odd += 2.0;
        term *= z * z / odd;
        sum += term;
    }
    let inner = sum * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
    if x < 0.0 { 0.5 - inner } else { 0.5 + inner }
}

fn elements(op: &FloatUnary, input: &Tensor) -> impl Iterator<Item = (f64, f64)> {
    input.values::<f32>().expect("checked by run").iter().map(|&x| element(op.function, x.into()))
}

pub(super) fn float_unary(op: &FloatUnary, input: &Tensor) -> Tensor {
    let values = elements(op, input).map(|(value, _)| value as f32).collect();
    Tensor::from_values(op.tensor_type.clone(), values)
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &FloatUnary, input: &Tensor) -> Vec<f32> {
    elements(op, input).map(|(value, error)| bound(error, value.abs() + error)).collect()
}
