//! The meaning of `ops::FloatUnary`, in f64. GPU twin: `shaders/elementwise/float_unary.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound, flushed};
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

/// The function of a number, and the error bound of a device; infinite if WGSL leaves the result open.
fn element(function: Function, x: f64) -> (f64, f64) {
    if function == Function::IsNan {
        return (f64::from(u8::from(x.is_nan())), 0.0);
    }
    let (value, error) = finite_element(function, x);
    if x.is_finite() { (value, error) } else { (if x.is_nan() { x } else { value }, f64::INFINITY) }
}

fn finite_element(function: Function, x: f64) -> (f64, f64) {
    // Results without rounding; a subnormal number may count as zero.
    let exact = |value: f64| {
        (value, if x != 0.0 && x.abs() < FLUSHED { (value - finite_element(function, 0.0).0).abs() } else { 0.0 })
    };
    let power = (-x.abs()).exp();
    let is_lost = x.abs() < FLUSHED;
    let [alpha, beta] = function.parameters().map(f64::from);
    let (value, error) = match function {
        Function::IsNan => return (0.0, 0.0),
        Function::Relu => return exact(x.max(0.0)),
        Function::Abs => return exact(x.abs()),
        Function::Negate => return exact(-x),
        Function::Floor => return exact(x.floor()),
        Function::Ceil => return exact(x.ceil()),
        Function::Round => return exact(x.round_ties_even()),
        Function::Clamp { .. } => {
            let (value, error) = exact(x.max(alpha).min(beta));
            return (value, if value.abs() < FLUSHED { FLUSHED } else { error });
        }
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
        Function::Sqrt => (x.sqrt(), if is_lost { x.sqrt() } else { 5.0 * UNIT * x.sqrt() }),
        // Beyond 104, where it is 0, the argument no longer grows.
        Function::Exp => (x.exp(), (3.0 + 2.0 * x.abs().min(104.0)) * UNIT * x.exp()),
        Function::Log | Function::Reciprocal if is_lost => {
            return (if function == Function::Log { x.ln() } else { 1.0 / x }, f64::INFINITY);
        }
        Function::Log if (0.5..=2.0).contains(&x) => (x.ln(), 4.0 * UNIT),
        Function::Log => (x.ln(), 3.0 * UNIT * x.ln().abs()),
        Function::Reciprocal => (1.0 / x, 2.5 * UNIT / x.abs()),
        Function::Erf => (erf(x), 24.0 * UNIT * erf(x).abs()),
        Function::Softplus => {
            let value = x.max(0.0) + power.ln_1p();
            (value, UNIT * ((12.0 + 2.0 * x.abs().min(104.0)) * power.ln_1p() + value))
        }
        Function::HardSigmoid { .. } => hard_sigmoid(x, alpha, beta, 1.0),
        Function::HardSwish => {
            // 1/6 is rounded, too.
            let (share, error) = hard_sigmoid(x, 1.0 / 6.0, 0.5, 1.5);
            (x * share, x.abs() * error + UNIT * (x * share).abs())
        }
        Function::LeakyRelu { .. } | Function::Elu { .. } if x >= 0.0 => return exact(x),
        Function::LeakyRelu { .. } => (alpha * x, UNIT * (alpha * x).abs() + flushed(alpha, x)),
        Function::Elu { .. } => {
            let value = alpha * x.exp_m1();
            let error = (3.0 + 2.0 * x.abs().min(104.0)) * power + 1.0;
            (value, UNIT * alpha.abs() * error + flushed(alpha, x.exp_m1()))
        }
    };
    // The reference rounds too.
    (value, error + UNIT * value.abs() + 0.5f64.powi(120) * (1.0 + x.abs()) * alpha.abs().max(1.0))
}

/// max(0, min(1, a x + b)), and the error of a device, whose product is off by some units, as far as it passes the clamp.
fn hard_sigmoid(x: f64, a: f64, b: f64, units: f64) -> (f64, f64) {
    let (product, sum) = ((a * x).abs(), a * x + b);
    let error = 1.001 * UNIT * (units * product + sum.abs()) + flushed(a, x) + 4.0 * FLUSHED;
    let end = |sum: f64| sum.clamp(0.0, 1.0);
    let value = end(sum);
    let passed = (end(sum + error) - value).max(value - end(sum - error));
    (value, if product + b.abs() > f64::from(f32::MAX) { f64::INFINITY } else { passed })
}

/// 1 / (1 + e^-x), and the error of a device whose exponential is off by (3 + slope · |x|) units.
fn sigmoid(x: f64, slope: f64) -> (f64, f64) {
    let power = (-x.abs()).exp();
    let share = if x < 0.0 { power } else { 1.0 } / (1.0 + power);
    let error = (3.0 + slope * x.abs()) * power / (1.0 + power).powi(2) + 6.0 * share;
    (share, 1.25 * UNIT * error)
}

/// The standard normal distribution function.
fn normal(x: f64) -> f64 {
    let half = half_normal(x.abs());
    if x < 0.0 { 0.5 - half } else { 0.5 + half }
}

fn erf(x: f64) -> f64 {
    (2.0 * half_normal(x.abs() * std::f64::consts::SQRT_2)).copysign(x)
}

/// The share of the normal distribution from 0 to z: `φ(z) · Σ z^(2i + 1) / (1 · 3 · … · (2i + 1))`.
fn half_normal(z: f64) -> f64 {
    if z > 12.0 {
        return 0.5;
    }
    let (mut term, mut sum, mut odd) = (z, z, 1.0);
    while term > 1e-18 * sum {
        odd += 2.0;
        term *= z * z / odd;
        sum += term;
    }
    sum * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
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
