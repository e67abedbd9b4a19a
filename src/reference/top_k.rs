//! The meaning of `ops::TopK`. GPU twins: `shaders/elementwise/top_k.wgsl`, `top_k_merge.wgsl`.

use std::cmp::Ordering;

use half::f16;

use super::Meaning;
use crate::error::Result;
use crate::numeric::DType;
use crate::ops::TopK;
use crate::tensor::Tensor;

impl Meaning for TopK {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let x = inputs[0];
        let sources = match x.dtype() {
            DType::Float32 => best(self, x.values::<f32>()?, order),
            DType::Float16 => best(self, x.values::<f16>()?, |a, b| order(a.to_f32(), b.to_f32())),
            DType::Int32 => best(self, x.values::<i32>()?, |a, b| a.cmp(&b)),
            DType::Int8 => best(self, x.values::<i8>()?, |a, b| a.cmp(&b)),
            _ => best(self, x.values::<u8>()?, |a, b| a.cmp(&b)),
        };
        let n = self.input().shape().row_length();
        let indices = sources.iter().map(|source| (source % n) as i32).collect();
        let sources: Vec<Option<usize>> = sources.into_iter().map(Some).collect();
        let values = x.gathered(self.values().clone(), &sources, 0);
        Ok(vec![values, Tensor::from_values(self.indices().clone(), indices)])
    }

    fn tolerance(&self, _: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

/// The order of floats: −0 equals 0, and NaN is greater than every number and equal to NaN.
fn order(a: f32, b: f32) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The places of the best elements of each row, best first.
fn best<T: Copy>(op: &TopK, values: &[T], order: impl Fn(T, T) -> Ordering) -> Vec<usize> {
    let n = op.input().shape().row_length();
    let mut best = Vec::with_capacity(op.indices().shape().elements());
    for first in (0..values.len()).step_by(n) {
        let mut row: Vec<usize> = (first..first + n).collect();
        // The sort is stable: equal elements stay in the order of their indices.
        row.sort_by(|&a, &b| {
            let rising = order(values[a], values[b]);
            if op.is_least() { rising } else { rising.reverse() }
        });
        best.extend(&row[..op.k()]);
    }
    best
}
