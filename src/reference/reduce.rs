//! The meaning of `ops::Reduce`, in f64. GPU twin: `shaders/elementwise/reduce.wgsl`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound};
use crate::error::Result;
use crate::ops::{Reduce, Reduction};
use crate::tensor::Tensor;

impl Meaning for Reduce {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let values = reduced(self, inputs[0]).iter().map(|one| one.value() as f32).collect();
        Ok(vec![Tensor::from_values(self.output.clone(), values)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(reduced(self, inputs[0]).iter().map(Reduced::tolerance).collect())
    }
}

/// Numbers that become one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reduced {
    reduction: Reduction,
    /// The divisor of a mean.
    pub count: usize,
    numbers: usize,
    value: f64,
    /// The sum of all magnitudes, or squares.
    size: f64,
    /// The squares that may count as zero.
    lost: f64,
    finite: bool,
}

impl Reduced {
    pub(super) fn new(reduction: Reduction, count: usize) -> Self {
        let value = match reduction {
            Reduction::Max => f32::MIN,
            Reduction::Min => f32::MAX,
            _ => 0.0,
        };
        Self { reduction, count, numbers: 0, value: value.into(), size: 0.0, lost: 0.0, finite: true }
    }

    pub(super) fn add(&mut self, x: f32) {
        let (x, own) = (f64::from(x), self.value);
        let square = self.reduction == Reduction::L2;
        let size = if square { x * x } else { x.abs() };
        self.value = match self.reduction {
            Reduction::Sum | Reduction::Mean => own + x,
            // All may be infinite.
            Reduction::Max | Reduction::Min if self.numbers == 0 => x,
            Reduction::Max => own.max(x),
            Reduction::Min => own.min(x),
            Reduction::L1 | Reduction::L2 => own + size,
        };
        self.numbers += 1;
        self.size += size;
        self.lost += if size < FLUSHED || x.abs() < FLUSHED { size } else { 0.0 };
        self.finite &= x.is_finite();
    }

    pub(super) fn value(&self) -> f64 {
        match self.reduction {
            Reduction::Mean => self.value / self.count as f64,
            Reduction::L2 => self.value.sqrt(),
            _ => self.value,
        }
    }

    pub(super) fn tolerance(&self) -> f32 {
        let (n, value) = (self.numbers as f64, self.value());
        // Each number passes at most n sums. A partial sum that is subnormal may be lost.
        let sum = (n * UNIT).exp_m1() * self.size + self.lost + n * FLUSHED;
        let (error, largest) = match self.reduction {
            _ if !self.finite => (f64::INFINITY, f64::INFINITY),
            Reduction::Max | Reduction::Min => (if value.abs() < FLUSHED { FLUSHED } else { 0.0 }, value.abs()),
            Reduction::Sum | Reduction::L1 => (sum + UNIT * value.abs(), self.size + sum),
            Reduction::Mean => {
                let mean = sum / self.count as f64;
                (mean + 5.0 * UNIT * (value.abs() + mean) + FLUSHED, self.size + sum)
            }
            Reduction::L2 => {
                let sum = sum + UNIT * self.size;
                let (most, least) = ((self.size + sum).sqrt(), (self.size - sum).max(0.0).sqrt());
                let least = if least * least < FLUSHED { 0.0 } else { least };
                ((most - value).max(value - least) + 6.0 * UNIT * most, self.size + sum)
            }
        };
        bound(error, largest)
    }
}

/// The numbers of each output.
fn reduced(op: &Reduce, input: &Tensor) -> Vec<Reduced> {
    let mut all = vec![Reduced::new(op.reduction, op.count()); op.output.shape().elements()];
    for (i, &x) in input.values::<f32>().expect("checked by run").iter().enumerate() {
        all[op.output.shape().source_index(op.input.shape(), i)].add(x);
    }
    all
}
