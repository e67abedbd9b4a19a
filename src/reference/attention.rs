//! The meaning of `ops::Attention`, in f64. GPU twins: `shaders/attention/`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound};
use crate::error::Result;
use crate::ops::Attention;
use crate::tensor::Tensor;

impl Meaning for Attention {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let values = elements(self, inputs).into_iter().map(|(value, _)| value as f32).collect();
        Ok(vec![Tensor::from_values(self.output().clone(), values)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(elements(self, inputs).into_iter().map(|(value, error)| bound(error, value.abs() + error)).collect())
    }
}

fn reals(tensor: &Tensor) -> Vec<f64> {
    match tensor.values::<half::f16>() {
        Ok(halves) => halves.iter().map(|x| x.to_f64()).collect(),
        Err(_) => tensor.values::<f32>().expect("checked by run").iter().map(|&x| f64::from(x)).collect(),
    }
}

/// The score of a position, and its error.
struct Score {
    position: usize,
    value: f64,
    error: f64,
}

/// Each output, and the error bound of a device.
fn elements(op: &Attention, inputs: &[&Tensor]) -> Vec<(f64, f64)> {
    let [query, keys, values] = [0, 1, 2].map(|i| reals(inputs[i]));
    let first = i64::from(inputs[3].values::<i32>().expect("checked by run")[0]);
    let ([tokens, heads, _], [capacity, ..]) = (op.query_dims(), op.value_dims());
    let length = (first + tokens as i64).clamp(0, capacity as i64);
    let mut elements = Vec::with_capacity(op.output().shape().elements());
    for token in 0..tokens as i64 {
        let own = first + token;
        let end = if op.options().causal { (own + 1).min(length) } else { length };
        let start = op.options().window.map_or(0, |window| own.saturating_add(1).saturating_sub(window as i64));
        let visible = start.clamp(0, end.max(0)) as usize..end.max(0) as usize;
        for head in 0..heads {
            elements.extend(outputs(op, [&query, &keys, &values], token as usize, head, visible.clone()));
        }
    }
    elements
}

/// The outputs of a query and head that see these positions.
fn outputs(
    op: &Attention,
    [query, keys, values]: [&[f64]; 3],
    token: usize,
    head: usize,
    visible: std::ops::Range<usize>,
) -> Vec<(f64, f64)> {
    let ([_, heads, d], [_, kv_heads, value_d]) = (op.query_dims(), op.value_dims());
    let cache_head = head * kv_heads / heads;
    let query = &query[(token * heads + head) * d..][..d];
    let cache_row = |position: usize| position * kv_heads + cache_head;
    let (scale, length) = (f64::from(op.scale()), visible.len() as f64);
    let scores: Vec<Score> = visible
        .map(|position| {
            let key = &keys[cache_row(position) * d..][..d];
            let products = || query.iter().zip(key).map(|(q, k)| q * k);
            let size = products().map(f64::abs).sum::<f64>() * scale.abs();
            let score = scale * products().sum::<f64>();
            let flushed = (4 * d) as f64 * FLUSHED * (1.0 + scale.abs());
            let lost = key.iter().chain(query).any(|x| x.abs() < FLUSHED);
            let error = 2.0 * UNIT * (d as f64 + 4.0) * size + flushed + if lost { size } else { 0.0 };
            let (value, error) = match op.options().soft_cap.map(f64::from) {
                Some(cap) => (cap * (score / cap).tanh(), error + 24.0 * UNIT * cap),
                None => (score, error),
            };
            let leaves = size > f64::from(f32::MAX) || !size.is_finite();
            Score { position, value, error: if leaves { f64::INFINITY } else { error } }
        })
        .collect();
    let sink = op.options().sinks.as_ref().map(|sinks| f64::from(sinks.values::<f32>().expect("float32")[head]));
    let most = scores.iter().map(|score| score.value).chain(sink).fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score.value - most).exp()).collect();
    let total = powers.iter().sum::<f64>() + sink.map_or(0.0, |sink| (sink - most).exp());
    // The error of a power beyond that of its score: differences, exponentials, and factors as the maximum grows.
    let own = |score: &Score| 4.0 * UNIT * (most - score.value).min(128.0);
    let mean = scores.iter().zip(&powers).map(|(score, power)| (score.error + own(score)) * power).sum::<f64>() / total;
    let column = |i: usize| {
        let (mut value, mut error, mut largest) = (0.0, 0.0, 0.0f64);
        for (score, power) in scores.iter().zip(&powers) {
            let own_value = values[cache_row(score.position) * value_d + i];
            let part = power / total * own_value;
            value += part;
            largest = largest.max(own_value.abs());
            error += part.abs() * (score.error.exp_m1() + own(score) + mean.exp_m1() + UNIT * (3.0 * length + 32.0));
        }
        let error = 1.25 * error + 0.5f64.powi(100) * (1.0 + largest);
        let unbounded = largest * length > f64::from(f32::MAX) || scores.iter().any(|score| !score.error.is_finite());
        // Nothing visible is exactly zero.
        if scores.is_empty() { (0.0, 0.0) } else { (value, if unbounded { f64::INFINITY } else { error }) }
    };
    (0..value_d).map(column).collect()
}
