//! The meaning of `ops::Attention`, in f64. GPU twins: `shaders/attention/`.

use super::Meaning;
use super::bound::{FLUSHED, UNIT, bound};
use crate::error::Result;
use crate::numeric::QuantizationParams;
use crate::ops::{Attention, Cache};
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
    if let Ok(halves) = tensor.values::<half::f16>() {
        return halves.iter().map(|x| x.to_f64()).collect();
    }
    if tensor.dtype().range().is_some() {
        return tensor.codes().expect("an integer format").into_iter().map(f64::from).collect();
    }
    tensor.values::<f32>().expect("checked by run").iter().map(|&x| f64::from(x)).collect()
}

/// Rows of a cache: numbers, or codes with a scale for each group.
struct Rows {
    elements: Vec<f64>,
    width: usize,
    scales: Option<Vec<f64>>,
    groups: usize,
    group_size: usize,
}

impl Rows {
    fn of(op: &Attention, cache: Cache, inputs: &[&Tensor]) -> Self {
        let (input, width) = match cache {
            Cache::Keys => (1, op.query_dims()[2]),
            Cache::Values => (2, op.value_dims()[2]),
        };
        let scales = op.scales(cache).map(|input| {
            let pairs = inputs[input].values::<QuantizationParams>().expect("checked by run");
            pairs.iter().map(|pair| f64::from(pair.scale)).collect()
        });
        let elements = reals(inputs[input]);
        Self { elements, width, scales, groups: op.groups(cache), group_size: op.group_size(cache) }
    }

    /// The numbers or codes of a row.
    fn row(&self, row: usize) -> &[f64] {
        &self.elements[row * self.width..][..self.width]
    }

    /// The scales of a row's groups.
    fn scales(&self, row: usize) -> &[f64] {
        self.scales.as_ref().map_or(&[1.0], |scales| &scales[row * self.groups..][..self.groups])
    }

    /// An element of a row times its scale.
    fn value(&self, row: usize, i: usize) -> f64 {
        self.row(row)[i] * self.scales(row)[i / self.group_size]
    }
}

/// Numbers of a mask up to this hide a position.
const HIDES: f32 = -1e38;

/// The score of a position, and its error.
struct Score {
    position: usize,
    value: f64,
    error: f64,
}

/// Each output, and the error bound of a device.
fn elements(op: &Attention, inputs: &[&Tensor]) -> Vec<(f64, f64)> {
    let (query, [keys, values]) =
        (reals(inputs[0]), [Cache::Keys, Cache::Values].map(|cache| Rows::of(op, cache, inputs)));
    let position = inputs[3].values::<i32>().expect("checked by run")[0];
    let (first, length) = (i64::from(position), op.length(position) as i64);
    let [tokens, heads, _] = op.query_dims();
    let mask = op.mask().map(|(input, _)| inputs[input].values::<f32>().expect("checked by run"));
    let [of_head, of_token] = op.mask_strides();
    let mut elements = Vec::with_capacity(op.output().shape().elements());
    for token in 0..tokens as i64 {
        let own = first + token;
        let end = if op.options().causal { (own + 1).min(length) } else { length };
        let start = op.options().window.map_or(0, |window| own.saturating_add(1).saturating_sub(window as i64));
        let visible = start.clamp(0, end.max(0)) as usize..end.max(0) as usize;
        for head in 0..heads {
            let start = head * of_head + token as usize * of_token;
            let masked = |position: usize| (position, mask.map_or(0.0, |mask| mask[start + position]));
            let visible = visible.clone().map(masked).filter(|(_, mask)| mask.is_nan() || *mask > HIDES);
            elements.extend(outputs(op, &query, [&keys, &values], token as usize, head, visible.collect()));
        }
    }
    elements
}

/// The outputs of a query and head that see these positions, with the mask of each.
fn outputs(
    op: &Attention,
    query: &[f64],
    [keys, values]: [&Rows; 2],
    token: usize,
    head: usize,
    visible: Vec<(usize, f32)>,
) -> Vec<(f64, f64)> {
    let ([_, heads, d], [_, kv_heads, value_d]) = (op.query_dims(), op.value_dims());
    let cache_head = head * kv_heads / heads;
    let query = &query[(token * heads + head) * d..][..d];
    let cache_row = |position: usize| position * kv_heads + cache_head;
    let (scale, length) = (f64::from(op.scale()), visible.len() as f64);
    let has_scales = if keys.scales.is_some() { 1.0 } else { 0.0 };
    let scores: Vec<Score> = visible
        .into_iter()
        .map(|(position, mask)| {
            let (key, key_scales) = (keys.row(cache_row(position)), keys.scales(cache_row(position)));
            let (mut sum, mut sizes, mut largest) = (0.0, 0.0, 0.0);
            for ((query, key), key_scale) in
                query.chunks(keys.group_size).zip(key.chunks(keys.group_size)).zip(key_scales)
            {
                let products = || query.iter().zip(key).map(|(q, k)| q * k);
                let of_group = products().map(f64::abs).sum::<f64>();
                sum += products().sum::<f64>() * key_scale;
                sizes += of_group * key_scale;
                largest += of_group * key_scale.max(1.0);
            }
            let size = sizes * scale.abs();
            let score = sum * scale;
            let key_scale = key_scales.iter().copied().fold(0.0, f64::max);
            let flushed = (4 * d) as f64 * FLUSHED * (1.0 + scale.abs()) * (1.0 + key_scale * has_scales);
            // Subnormal factors may count as zero.
            let lost = key.iter().chain(query).chain(key_scales).any(|&x| x != 0.0 && x.abs() < FLUSHED);
            let sums = d as f64 + 4.0 + has_scales * keys.groups as f64;
            let error = 2.0 * UNIT * sums * size + flushed + if lost { size } else { 0.0 };
            let (value, error) = match op.options().soft_cap.map(f64::from) {
                Some(cap) => (cap * (score / cap).tanh(), error + 24.0 * UNIT * cap),
                None => (score, error),
            };
            let largest = largest * scale.abs().max(1.0);
            let (value, error) = match op.mask() {
                Some(_) => {
                    let mask = f64::from(mask);
                    (value + mask, error + UNIT * (value.abs() + error + mask.abs()) + FLUSHED)
                }
                None => (value, error),
            };
            // Scores begin at -3e38 on devices.
            let furthest = value.abs() + error + f64::from(mask).abs();
            let stays = largest <= f64::from(f32::MAX) && (op.mask().is_none() || furthest <= 2.9e38);
            let leaves = !stays || !largest.is_finite();
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
            let row = cache_row(score.position);
            let own_value = values.value(row, i);
            let part = power / total * own_value;
            value += part;
            largest = largest.max(own_value.abs());
            // A large error of a small share stays in the exponent, where it doesn't overflow.
            let grown = match score.error < 1.0 {
                true => power * score.error.exp_m1(),
                false => (score.value - most + score.error).exp(),
            };
            error += own_value.abs() * grown / total;
            error += part.abs() * (own(score) + mean.exp_m1() + UNIT * (3.0 * length + 32.0 + 2.0 * has_scales));
        }
        // A share times a scale may be subnormal, and meets a code of at most 128.
        let lost = has_scales * length * 256.0 * FLUSHED;
        let error = 1.25 * error + 0.5f64.powi(100) * (1.0 + largest) + lost;
        let unbounded = largest * length > f64::from(f32::MAX) || scores.iter().any(|score| !score.error.is_finite());
        // Nothing visible is exactly zero.
        if scores.is_empty() { (0.0, 0.0) } else { (value, if unbounded { f64::INFINITY } else { error }) }
    };
    (0..value_d).map(column).collect()
}
