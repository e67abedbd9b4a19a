//! The meaning of `ops::ObserveRange` and `ops::ObserveHistogram`. GPU twins: `shaders/calibrate/observe_*.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric;
use crate::ops::{ObserveHistogram, ObserveRange, RangeUpdate};
use crate::tensor::Tensor;

impl Meaning for ObserveRange {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![observe_range(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

impl Meaning for ObserveHistogram {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![observe_histogram(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

/// The first six words of a state.
#[derive(Clone, Copy)]
struct Seen {
    min: f32,
    max: f32,
    count: u64,
    skipped: u64,
}

impl Seen {
    /// Reads a state, which may hold any words.
    fn read(words: &[i32]) -> Self {
        let wide = |i: usize| u64::from(words[i] as u32) | u64::from(words[i + 1] as u32) << 32;
        let [count, skipped] = [wide(2), wide(4)];
        let bound = |i: usize| if count == 0 { 0.0 } else { numeric::finite(f32::from_bits(words[i] as u32)) };
        Self { min: bound(0), max: bound(1), count, skipped }
    }

    fn ordered(self) -> Self {
        let [min, max] = [self.min, self.max];
        if min.total_cmp(&max).is_le() { self } else { Self { min: max, max: min, ..self } }
    }

    fn words(self) -> [i32; 6] {
        let [count, skipped] = [self.count, self.skipped].map(|n| [n as i32, (n >> 32) as i32]);
        [self.min.to_bits() as i32, self.max.to_bits() as i32, count[0], count[1], skipped[0], skipped[1]]
    }

    /// The statistics of one batch.
    fn of(values: &[f32]) -> Self {
        let mut seen = Self { min: 0.0, max: 0.0, count: 0, skipped: 0 };
        for &x in values {
            if !x.is_finite() {
                seen.skipped += 1;
                continue;
            }
            let first = seen.count == 0;
            seen.min = if first || x.total_cmp(&seen.min).is_lt() { x } else { seen.min };
            seen.max = if first || x.total_cmp(&seen.max).is_gt() { x } else { seen.max };
            seen.count += 1;
        }
        seen
    }

    fn and(self, batch: Self, rule: RangeUpdate) -> Self {
        let count = self.count.saturating_add(batch.count);
        let counts = Self { count, skipped: self.skipped.saturating_add(batch.skipped), ..self };
        if batch.count == 0 {
            return counts;
        }
        if self.count == 0 {
            return Self { min: batch.min, max: batch.max, ..counts };
        }
        match rule {
            RangeUpdate::MinMax => Self {
                min: if batch.min.total_cmp(&self.min).is_lt() { batch.min } else { self.min },
                max: if batch.max.total_cmp(&self.max).is_gt() { batch.max } else { self.max },
                ..counts
            },
            RangeUpdate::MovingAverage { constant } => {
                let step = |bound: f32, batch: f32| {
                    // The difference of two finite numbers may be infinite.
                    let change = constant * (batch - bound).clamp(f32::MIN, f32::MAX);
                    bound + change
                };
                Self { min: step(self.min, batch.min), max: step(self.max, batch.max), ..counts }
            }
        }
    }
}

/// The elements of a batch, grouped by their range.
fn groups(input: &Tensor, granularity: crate::Granularity, count: usize) -> Vec<Vec<f32>> {
    let shape = input.tensor_type().shape();
    let mut groups = vec![Vec::new(); count];
    for (i, &x) in input.values::<f32>().expect("checked by run").iter().enumerate() {
        groups[granularity.index(shape, i)].push(x);
    }
    groups
}

pub(super) fn observe_range(op: &ObserveRange, inputs: &[&Tensor]) -> Tensor {
    let state = inputs[1].values::<i32>().expect("checked by run");
    let groups = groups(inputs[0], op.granularity(), op.state().dims()[0]);
    let next = groups
        .iter()
        .zip(state.chunks_exact(ObserveRange::WORDS))
        .flat_map(|(values, state)| Seen::read(state).and(Seen::of(values), op.rule()).words());
    Tensor::from_values(op.state().clone(), next.collect())
}

pub(super) fn observe_histogram(op: &ObserveHistogram, inputs: &[&Tensor]) -> Tensor {
    let (bins, words) = (op.bins(), op.state().dims()[1]);
    let half = bins.bins() as i64 / 2;
    let state = inputs[1].values::<i32>().expect("checked by run");
    let groups = groups(inputs[0], op.granularity(), op.state().dims()[0]);
    let mut next = Vec::with_capacity(state.len());
    for (values, state) in groups.iter().zip(state.chunks_exact(words)) {
        let old = Seen::read(state).ordered();
        let seen = old.and(Seen::of(values), RangeUpdate::MinMax);
        let level = if seen.count == 0 { 0 } else { bins.level(seen.min, seen.max) };
        let mut counts = vec![0u64; bins.bins()];
        if old.count > 0 {
            let rise = (i64::from(level) - i64::from(state[6])).clamp(0, 63);
            for (i, pair) in state[ObserveHistogram::HEADER..].chunks_exact(2).enumerate() {
                let count = &mut counts[(((i as i64 - half) >> rise) + half) as usize];
                *count = count.saturating_add(u64::from(pair[0] as u32) | u64::from(pair[1] as u32) << 32);
            }
        }
        for &x in values.iter().filter(|x| x.is_finite()) {
            let count = &mut counts[(bins.place(x, level) + half) as usize];
            *count = count.saturating_add(1);
        }
        next.extend(seen.words());
        next.extend([level, 0]);
        next.extend(counts.iter().flat_map(|&n| [n as i32, (n >> 32) as i32]));
    }
    Tensor::from_values(op.state().clone(), next)
}
