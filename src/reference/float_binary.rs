//! The meaning of `ops::FloatBinary`. GPU twin: `shaders/elementwise/float_binary.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound, flushed};
use crate::error::Result;
use crate::ops::{Arithmetic, FloatBinary};
use crate::tensor::Tensor;

impl Meaning for FloatBinary {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![float_binary(self, inputs)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        tolerance(self, inputs)
    }
}

/// The result, and the error of a device; infinite if WGSL leaves the result open.
fn element(arithmetic: Arithmetic, a: f64, b: f64) -> (f64, f64) {
    let truth = |is_true: bool| (f64::from(u8::from(is_true)), 0.0);
    let has_nan = a.is_nan() || b.is_nan();
    match arithmetic {
        Arithmetic::Add => (a + b, UNIT * (a + b).abs() + 3.0 * FLUSHED),
        Arithmetic::Subtract => (a - b, UNIT * (a - b).abs() + 3.0 * FLUSHED),
        Arithmetic::Multiply => (a * b, UNIT * (a * b).abs() + flushed(a, b) + FLUSHED),
        Arithmetic::Divide => {
            let lost = if a.abs() < FLUSHED { (a / b).abs() } else { 0.0 };
            let open = b.abs() < FLUSHED || !a.is_finite() || !b.is_finite();
            (a / b, if open { f64::INFINITY } else { 2.5 * UNIT * (a / b).abs() + lost + FLUSHED })
        }
        Arithmetic::Power => {
            let open = !a.is_finite() || !b.is_finite();
            (a.powf(b), if open { f64::INFINITY } else { power_error(a, b) })
        }
        Arithmetic::Minimum | Arithmetic::Maximum if has_nan => (f64::NAN, 0.0),
        Arithmetic::Minimum => (if a.total_cmp(&b).is_lt() { a } else { b }, 0.0),
        Arithmetic::Maximum => (if a.total_cmp(&b).is_lt() { b } else { a }, 0.0),
        Arithmetic::Equal => truth(a == b),
        Arithmetic::Less => truth(a < b),
        Arithmetic::LessOrEqual => truth(a <= b),
        Arithmetic::Greater => truth(a > b),
        Arithmetic::GreaterOrEqual => truth(a >= b),
    }
}

/// The error of a^b for finite numbers.
fn power_error(a: f64, b: f64) -> f64 {
    let (value, size) = (a.powf(b).abs(), a.abs());
    if size < FLUSHED {
        // It may count as zero.
        return if b > 0.0 {
            value
        } else if b == 0.0 {
            0.0
        } else {
            f64::INFINITY
        };
    }
    if b.fract() == 0.0 && b.abs() <= 32.0 {
        // A reciprocal has 2.5 units, and each product one more than its factors together.
        return 4.0 * b.abs() * UNIT * value + FLUSHED;
    }
    if b.abs() == 0.5 {
        return 5.0 * UNIT * value + FLUSHED;
    }
    let logarithm = size.log2();
    let z = b * logarithm;
    let off = b.abs() * if (0.5..=2.0).contains(&size) { 4.0 * UNIT } else { 3.0 * UNIT * logarithm.abs() };
    let off = off + UNIT * (z.abs() + off) + FLUSHED;
    if z.abs() + off > f64::from(f32::MAX) {
        return f64::INFINITY;
    }
    let most = (z + off).exp2();
    (most - value).max(value - (z - off).exp2()) + (3.0 + 2.0 * z.abs().min(151.0)) * UNIT * most + FLUSHED
}

fn elements(op: &FloatBinary, inputs: &[&Tensor]) -> impl Iterator<Item = (f64, f64)> {
    let [lhs, rhs] = [inputs[0], inputs[1]].map(|tensor| tensor.values::<f32>().expect("checked by run"));
    let shape = op.output.shape();
    (0..shape.elements()).map(move |i| {
        let a = f64::from(lhs[op.lhs.shape().source_index(shape, i)]);
        let b = f64::from(rhs[op.rhs.shape().source_index(shape, i)]);
        element(op.arithmetic, a, b)
    })
}

pub(super) fn float_binary(op: &FloatBinary, inputs: &[&Tensor]) -> Tensor {
    Tensor::from_values(op.output.clone(), elements(op, inputs).map(|(value, _)| value as f32).collect())
}

/// The bound that the op documents, plus the reference's own rounding.
pub(super) fn tolerance(op: &FloatBinary, inputs: &[&Tensor]) -> Option<Vec<f32>> {
    let exact = matches!(
        op.arithmetic,
        Arithmetic::Minimum
            | Arithmetic::Maximum
            | Arithmetic::Equal
            | Arithmetic::Less
            | Arithmetic::LessOrEqual
            | Arithmetic::Greater
            | Arithmetic::GreaterOrEqual
    );
    let bound = |(value, error): (f64, f64)| {
        let error = error + UNIT * value.abs();
        bound(error, value.abs() + error)
    };
    (!exact).then(|| elements(op, inputs).map(bound).collect())
}
