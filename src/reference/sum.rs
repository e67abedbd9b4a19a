//! The meaning of `ops::Sum`. GPU twins: `shaders/train/sum.wgsl`, `shaders/train/sum_partials.wgsl`.

use super::Meaning;
use super::bound::Products;
use crate::error::Result;
use crate::ops::Sum;
use crate::tensor::Tensor;

impl Meaning for Sum {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![sum(self, inputs[0])])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs[0]))
    }
}

fn sums(op: &Sum, input: &Tensor) -> Vec<Products> {
    let mut sums = vec![Products::default(); op.output.shape().elements()];
    for (i, &x) in input.values::<f32>().expect("checked by run").iter().enumerate() {
        sums[op.granularity.index(op.input.shape(), i)].add(x.into(), 1.0);
    }
    sums
}

pub(super) fn sum(op: &Sum, input: &Tensor) -> Tensor {
    let values = sums(op, input).into_iter().map(|sum| sum.value as f32).collect();
    Tensor::from_values(op.output.clone(), values)
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &Sum, input: &Tensor) -> Vec<f32> {
    let n = op.input.shape().elements() / op.output.shape().elements().max(1);
    let operations = n.min(8192 + n / 8192) + 4;
    sums(op, input).into_iter().map(|sum| sum.tolerance(n, operations, 1.0)).collect()
}
