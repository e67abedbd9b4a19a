//! Histograms on the host: conversion from and to `ops::ObserveHistogram` states and files, and merging. `clip` chooses bounds.

use serde::{Deserialize, Serialize};

use super::ranges::{Seen, check_count, pair, state_words, wide};
use crate::error::{Error, Result, require};
use crate::ops::{Bins, ObserveHistogram};
use crate::tensor::{Granularity, Tensor};

/// The histograms of a tensor. Serializes with serde.
///
/// Bin i of `bins` holds numbers from `(i − bins / 2) · width` (included) to `(i + 1 − bins / 2) · width` (excluded). The
/// [`width`](Self::width) follows from the numbers seen so far. Counts saturate at 2⁶⁴ − 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File")]
pub struct Histograms {
    granularity: Granularity,
    bins: Bins,
    histograms: Vec<Histogram>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Histogram {
    seen: Seen,
    level: i32,
    counts: Vec<u64>,
}

/// The serialized form, not yet checked.
#[derive(Deserialize)]
struct File {
    granularity: Granularity,
    bins: Bins,
    histograms: Vec<Histogram>,
}

impl TryFrom<File> for Histograms {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        Self::checked(file.granularity, file.bins, file.histograms)
    }
}

impl Histogram {
    /// An error for a histogram that no observer with these bins makes.
    fn checked(self, bins: &Bins) -> Result<Self> {
        let seen = self.seen.checked()?;
        let (counts, total) = (self.counts.len(), self.counts.iter().fold(0u64, |a, &b| a.saturating_add(b)));
        require!(
            counts == bins.bins() && total == seen.count,
            "a histogram has {counts} bins that hold {total} numbers, but should have {} that hold {}",
            bins.bins(),
            seen.count
        );
        let level = level(bins, &seen);
        require!(self.level == level, "a histogram is at level {}, but its numbers need level {level}", self.level);
        Ok(Self { seen, ..self })
    }
}

fn level(bins: &Bins, seen: &Seen) -> i32 {
    seen.bounds().map_or(0, |(low, high)| bins.level(low, high))
}

impl Histograms {
    fn checked(granularity: Granularity, bins: Bins, histograms: Vec<Histogram>) -> Result<Self> {
        check_count(granularity, histograms.len())?;
        let histograms = histograms.into_iter().map(|histogram| histogram.checked(&bins)).collect::<Result<_>>()?;
        Ok(Self { granularity, bins, histograms })
    }

    /// Histograms that have seen nothing.
    #[must_use]
    pub fn empty(op: &ObserveHistogram) -> Self {
        let empty = Histogram { seen: Seen::default(), level: 0, counts: vec![0; op.bins().bins()] };
        Self { granularity: op.granularity(), bins: op.bins(), histograms: vec![empty; op.state().dims()[0]] }
    }

    /// The histograms in a state of the op.
    ///
    /// # Errors
    /// If the tensor is not of the state's type, or holds histograms that no observer makes.
    pub fn from_state(op: &ObserveHistogram, state: &Tensor) -> Result<Self> {
        let words = state_words(state, op.state())?;
        let histogram = |words: &[i32]| Histogram {
            seen: Seen::read(words),
            level: words[6],
            counts: words[ObserveHistogram::HEADER..].chunks_exact(2).map(wide).collect(),
        };
        let histograms = words.chunks_exact(op.state().dims()[1]).map(histogram).collect();
        Self::checked(op.granularity(), op.bins(), histograms)
    }

    /// The state with these histograms, from which the op can continue.
    ///
    /// # Errors
    /// If the histograms have another number, granularity or bins than the op's.
    pub fn to_state(&self, op: &ObserveHistogram) -> Result<Tensor> {
        self.check(&Self::empty(op))?;
        let words = |h: &Histogram| {
            let header = h.seen.words().into_iter().chain([h.level, 0]);
            header.chain(h.counts.iter().flat_map(|&count| pair(count))).collect::<Vec<_>>()
        };
        Tensor::new(op.state().dims(), self.histograms.iter().flat_map(words).collect::<Vec<_>>())
    }

    /// The elements that share a histogram.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// Number of histograms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.histograms.len()
    }

    /// True if there are no histograms.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histograms.is_empty()
    }

    /// The least and the greatest number that a histogram has seen. `None` if it has seen no finite number or `index` is beyond
    /// the last.
    #[must_use]
    pub fn bounds(&self, index: usize) -> Option<(f32, f32)> {
        self.histograms.get(index)?.seen.bounds()
    }

    /// The width of a histogram's bins; `None` while it is empty.
    #[must_use]
    pub fn width(&self, index: usize) -> Option<f64> {
        let histogram = self.histograms.get(index).filter(|h| h.seen.count > 0)?;
        Some(f64::from(self.bins.width) * 2f64.powi(histogram.level))
    }

    /// The count of each bin; empty if `index` is beyond the last histogram.
    #[must_use]
    pub fn counts(&self, index: usize) -> &[u64] {
        self.histograms.get(index).map_or(&[], |h| &h.counts)
    }

    /// Number of NaN and infinities that were skipped.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.histograms.iter().fold(0, |sum, h| sum.saturating_add(h.seen.skipped))
    }

    fn check(&self, other: &Self) -> Result<()> {
        require!(
            self.granularity == other.granularity && self.bins == other.bins && self.len() == other.len(),
            "{} histograms by {:?} ({:?}) don't go with {} by {:?} ({:?}): observe with the same observer everywhere",
            self.len(),
            self.granularity,
            self.bins,
            other.len(),
            other.granularity,
            other.bins
        );
        Ok(())
    }

    /// Adds another observer's histograms. The result is exactly that of one pass over all batches.
    ///
    /// # Errors
    /// If the other has another number, granularity or bins.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.check(other)?;
        let bins = self.bins;
        for (histogram, other) in self.histograms.iter_mut().zip(&other.histograms) {
            let seen = histogram.seen.and(&other.seen);
            let level = level(&bins, &seen);
            let mut counts = vec![0u64; bins.bins()];
            for part in [&*histogram, other].into_iter().filter(|part| part.seen.count > 0) {
                let (half, rise) = (bins.bins() as i64 / 2, (level - part.level).clamp(0, 63));
                for (i, &count) in part.counts.iter().enumerate() {
                    let sum = &mut counts[(((i as i64 - half) >> rise) + half) as usize];
                    *sum = sum.saturating_add(count);
                }
            }
            *histogram = Histogram { seen, level, counts };
        }
        Ok(())
    }
}
