//! The meaning of `ops::Rotary`, in f64. GPU twin: `shaders/elementwise/rotary.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, Sum, UNIT, flushed};
use crate::error::Result;
use crate::numeric::{DType, finite};
use crate::ops::{Rotary, RotaryPairs};
use crate::tensor::Tensor;

impl Meaning for Rotary {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let values = elements(self, inputs, |x, _| x, |factors| sum(factors).value as f32);
        Ok(vec![Tensor::from_values(self.input().clone(), values)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs, DType::Float32))
    }
}

/// The bound of elements that are stored in this data type. Elements that are not rotated are exact.
pub(super) fn tolerance(op: &Rotary, inputs: &[&Tensor], stored: DType) -> Vec<f32> {
    elements(op, inputs, |_, bound| bound, |factors| sum(factors).tolerance(stored))
}

/// The rows after a rotation whose steps are operations of f32 over finite numbers. GPU twin: `shaders/elementwise/rotate_bits.wgsl`.
pub(super) fn exact(op: &Rotary, inputs: &[&Tensor]) -> Tensor {
    let rotated = |factors: [(f32, f32); 2]| {
        let [first, second] = factors.map(|(x, y)| finite(finite(x) * finite(y)));
        first + second
    };
    Tensor::from_values(op.input().clone(), elements(op, inputs, |x, _| x, rotated))
}

/// The sum of two products, and its error.
fn sum(factors: [(f32, f32); 2]) -> Sum {
    let [first, second] = factors.map(|(x, y)| (f64::from(x), f64::from(y)));
    let size = (first.0 * first.1).abs() + (second.0 * second.1).abs();
    let lost = flushed(first.0, first.1) + flushed(second.0, second.1);
    let value = first.0 * first.1 + second.0 * second.1;
    Sum { value, error: UNIT * size + lost + 3.0 * FLUSHED, largest: size }
}

/// For each element `copied` of it and of the bound of a copy, or `rotated` of the factors of its two products.
fn elements(
    op: &Rotary,
    inputs: &[&Tensor],
    copied: impl Fn(f32, f32) -> f32,
    rotated: impl Fn([(f32, f32); 2]) -> f32,
) -> Vec<f32> {
    let [x, table] = [inputs[0], inputs[2]].map(|tensor| tensor.values::<f32>().expect("checked by run"));
    let position = i64::from(inputs[1].values::<i32>().expect("checked by run")[0]);
    let [positions, width] = op.table_dims();
    let (n, half) = (op.input().shape().row_length(), width / 2);
    let rows = op.input().shape().rows() / op.input().dims()[0].max(1);
    let mut elements = Vec::with_capacity(x.len());
    for (index, row) in x.chunks_exact(n.max(1)).enumerate() {
        let at = (position + (index / rows.max(1)) as i64).clamp(0, positions as i64 - 1) as usize;
        let (cosines, sines) = table[at * width..(at + 1) * width].split_at(half);
        for column in 0..n {
            if column >= width {
                elements.push(copied(row[column], 0.0));
                continue;
            }
            let (i, is_second) = match op.pairs() {
                RotaryPairs::Halves => (column % half, column >= half),
                RotaryPairs::Interleaved => (column / 2, column % 2 == 1),
            };
            let (a, b) = match op.pairs() {
                RotaryPairs::Halves => (row[i], row[i + half]),
                RotaryPairs::Interleaved => (row[2 * i], row[2 * i + 1]),
            };
            elements.push(rotated(match is_second {
                true => [(a, sines[i]), (b, cosines[i])],
                false => [(a, cosines[i]), (-b, sines[i])],
            }));
        }
    }
    elements
}
