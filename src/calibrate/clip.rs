//! The bounds of a histogram: by the share of numbers they hold, by the loss of information, or by the error of the codes.
//! `scheme` turns bounds into scales.

use serde::{Deserialize, Serialize};

use super::{Histograms, Scheme, seen};
use crate::error::{Result, require};

/// The rule for the bounds of a range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Clipping {
    /// The least and greatest number.
    MinMax,
    /// The lower edges of two bins, clamped to the extremes. At least (100 − `percent`) / 200 of the numbers lie up to the end
    /// of the first bin; at most as many lie beyond the second. This is ONNX Runtime's percentile calibration; its default is
    /// 99.999.
    Percentile {
        /// The share of numbers to keep, above 0 and at most 100.
        percent: f64,
    },
    /// The percentile of magnitudes, on both sides of zero: ± the lower edge of the first bin beyond which at most
    /// (100 − `percent`) / 100 of the magnitudes lie.
    SymmetricPercentile {
        /// The share of numbers to keep, above 0 and at most 100.
        percent: f64,
    },
    /// The symmetric bounds whose distribution loses the least information when it is merged into `levels` levels. The loss is
    /// the Kullback–Leibler divergence. Numbers beyond the bounds are added to the outermost bins. The count of merged bins is
    /// divided evenly among the bins that are not empty, without a fraction, and empty bins count as 10^-4. The bounds stay
    /// within the extremes. This is ONNX Runtime's entropy calibration, after TensorRT's; its default is 128 levels.
    Entropy {
        /// Number of levels: at least 2, at most the histogram's number of bins.
        levels: usize,
    },
    /// The fraction of the extremes, out of 1 %, 2 %, … 100 %, with the least Σ (code's number − number)² for codes of the
    /// scheme. The numbers of a bin count as its middle.
    Mse,
}

impl Clipping {
    /// The bounds for one histogram.
    pub(super) fn bounds(self, histograms: &Histograms, index: usize, scheme: &Scheme) -> Result<(f32, f32)> {
        let (min, max) = seen(index, histograms.bounds(index))?;
        let width = histograms.width(index).unwrap_or(1.0);
        let counts = histograms.counts(index);
        let (low, high) = match self {
            Self::MinMax => (min.into(), max.into()),
            Self::Percentile { percent } => {
                let cut = (100.0 - check(percent)?) / 200.0;
                let edge = |bin: usize| (bin as f64 - counts.len() as f64 / 2.0) * width;
                (edge(reaches(counts, cut)), edge(leaves(counts, cut)))
            }
            Self::SymmetricPercentile { percent } => {
                let cut = (100.0 - check(percent)?) / 100.0;
                let half = counts.len() / 2;
                let pair = |i: usize| counts[half + i].saturating_add(counts[half - 1 - i]);
                let folded: Vec<u64> = (0..half).map(pair).collect();
                let edge = leaves(&folded, cut) as f64 * width;
                (-edge, edge)
            }
            Self::Entropy { levels } => {
                require!(
                    (2..=counts.len()).contains(&levels),
                    "the entropy of {levels} levels, but a histogram of {} bins has 2 to that many",
                    counts.len()
                );
                let bins = entropy(occupied(counts, levels), levels);
                (-(bins as f64) * width, (bins + 1) as f64 * width)
            }
            Self::Mse => least_error(counts, width, (min, max), scheme),
        };
        // The bounds of a symmetric percentile may lie on one side of a one-sided distribution, so both are clamped to both
        // extremes.
        Ok((low.max(min.into()).min(max.into()) as f32, high.min(max.into()).max(min.into()) as f32))
    }
}

fn check(percent: f64) -> Result<f64> {
    require!(percent > 0.0 && percent <= 100.0, "the percentile {percent} is not above 0 and at most 100");
    Ok(percent)
}

/// The sum of the counts, saturating at the greatest u64.
fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
}

/// The first bin up to which at least this share of the counts lies.
fn reaches(counts: &[u64], share: f64) -> usize {
    let least = share * total(counts) as f64;
    let mut sum = 0u64;
    let reached = counts.iter().position(|&count| {
        sum = sum.saturating_add(count);
        sum as f64 >= least
    });
    reached.unwrap_or(counts.len() - 1)
}

/// The first bin beyond which at most this share of the counts lies.
fn leaves(counts: &[u64], share: f64) -> usize {
    let mut rest = total(counts);
    let most = share * rest as f64;
    let left = counts.iter().position(|&count| {
        rest = rest.saturating_sub(count);
        rest as f64 <= most
    });
    left.unwrap_or(counts.len() - 1)
}

/// The bins around zero that hold something: equally many on both sides, and in all at least as many as levels.
fn occupied(counts: &[u64], levels: usize) -> &[u64] {
    let half = counts.len() / 2;
    let filled = |i: &usize| counts[half + i] > 0 || counts[half - 1 - i] > 0;
    let reach = (0..half).rev().find(filled).map_or(0, |i| i + 1).max(levels.div_ceil(2)).min(half);
    &counts[half - reach..half + reach]
}

/// Number of bins below zero within the best bounds. Above zero there is one more.
fn entropy(counts: &[u64], levels: usize) -> usize {
    let half = counts.len() / 2;
    let mut before = vec![0u64; counts.len() + 1];
    for (i, &count) in counts.iter().enumerate() {
        before[i + 1] = before[i].saturating_add(count);
    }
    let divergence = |reach: usize| {
        let (start, end) = (half - reach, (half + reach + 1).min(counts.len()));
        let slice = &counts[start..end];
        let mut p = slice.to_vec();
        let last = p.len() - 1;
        p[0] = p[0].saturating_add(before[start]);
        p[last] = p[last].saturating_add(before[counts.len()] - before[end]);
        let merged = (slice.len() / levels).max(1);
        let mut q = vec![0u64; slice.len()];
        for level in 0..levels {
            let bins = level * merged..((level + 1) * merged).min(slice.len());
            let until = if level == levels - 1 { slice.len() } else { bins.end };
            let filled = p[bins.clone()].iter().filter(|&&count| count > 0).count() as u64;
            if let Some(each) = total(&slice[bins.start..until]).checked_div(filled) {
                q[bins].fill(each);
            }
        }
        match (smooth(&p), smooth(&q)) {
            (Some(p), Some(q)) => relative_entropy(&p, &q),
            _ => f64::INFINITY,
        }
    };
    let reaches = levels.div_ceil(2).min(half)..=half;
    let mut best = (*reaches.start(), f64::INFINITY);
    for reach in reaches {
        let found = divergence(reach);
        if found < best.1 {
            best = (reach, found);
        }
    }
    // If no divergence is finite, keep all bins.
    if best.1.is_finite() { best.0 } else { half }
}

/// Counts with zeros replaced by 10^-4, which are taken evenly from the other counts.
fn smooth(counts: &[u64]) -> Option<Vec<f64>> {
    let empty = counts.iter().filter(|&&count| count == 0).count();
    let filled = counts.len() - empty;
    let taken = 1e-4 * empty as f64 / filled as f64;
    (filled > 0 && taken < 1.0)
        .then(|| counts.iter().map(|&count| if count == 0 { 1e-4 } else { count as f64 - taken }).collect())
}

fn relative_entropy(p: &[f64], q: &[f64]) -> f64 {
    let (p_total, q_total): (f64, f64) = (p.iter().sum(), q.iter().sum());
    p.iter().zip(q).map(|(&p, &q)| p / p_total * ((p / p_total) / (q / q_total)).ln()).sum()
}

fn least_error(counts: &[u64], width: f64, (min, max): (f32, f32), scheme: &Scheme) -> (f64, f64) {
    let half = counts.len() as f64 / 2.0;
    let middle = |i: usize| ((i as f64 + 0.5 - half) * width).clamp(min.into(), max.into());
    let filled: Vec<(f64, f64)> =
        counts.iter().enumerate().filter(|(_, c)| **c > 0).map(|(i, &c)| (middle(i), c as f64)).collect();
    let mut best = (f64::INFINITY, (f64::from(min), f64::from(max)));
    // From the widest bounds on, so that of equals the one that clips least wins.
    for percent in (1..=100).rev() {
        let bounds = (f64::from(min) * f64::from(percent) / 100.0, f64::from(max) * f64::from(percent) / 100.0);
        let (scale, zero_point) = scheme.parameters(bounds.0 as f32, bounds.1 as f32);
        let (scale, zero_point) = (f64::from(scale), f64::from(zero_point));
        let error = |&(x, count): &(f64, f64)| {
            let (low, high) = scheme.codes();
            let code = ((x / scale).round_ties_even() + zero_point).clamp(low.into(), high.into());
            count * ((code - zero_point) * scale - x).powi(2)
        };
        let error: f64 = filled.iter().map(error).sum();
        if error < best.0 {
            best = (error, bounds);
        }
    }
    best.1
}
