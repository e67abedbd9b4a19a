//! The meaning of `ops::Sum`. GPU twins: `shaders/sum.wgsl`, `shaders/sum_partials.wgsl`.

use crate::ops::Sum;
use crate::tensor::{Tensor, Values};

/// Each sum, and that of the sizes of its terms.
fn sums(op: &Sum, input: &Tensor) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); op.output.shape().elements()];
    for (i, &x) in input.values::<f32>().expect("checked by run").iter().enumerate() {
        let sum = &mut sums[op.granularity.index(op.input.shape(), i)];
        *sum = (sum.0 + f64::from(x), sum.1 + f64::from(x).abs());
    }
    sums
}

pub(super) fn sum(op: &Sum, input: &Tensor) -> Tensor {
    let values = sums(op, input).into_iter().map(|(sum, _)| sum as f32).collect();
    Tensor::from_values(op.output.clone(), Values::Float32(values))
}

/// The bound that the op documents.
pub(super) fn tolerance(op: &Sum, input: &Tensor) -> Vec<f32> {
    let n = op.input.shape().elements() / op.output.shape().elements().max(1);
    let operations = (n.min(8192 + n / 8192) + 4) as f64;
    let flushed = (n + 1) as f64 * f64::from(f32::MIN_POSITIVE);
    sums(op, input).into_iter().map(|(_, size)| (operations * 2f64.powi(-22) * size + flushed) as f32).collect()
}
