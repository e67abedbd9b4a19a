//! Histograms as the host sees them: what the words of an `ops::ObserveHistogram` state say, and how two of them become one.
//! Choosing bounds is `clip`'s.

use serde::{Deserialize, Serialize};

use super::ranges::{Seen, pair, state_words, wide};
use crate::error::{Error, Result, require};
use crate::ops::{Bins, ObserveHistogram};
use crate::tensor::{Granularity, Tensor};

/// The histograms of a tensor. Serializes with serde.
///
/// Bin i of `bins` holds numbers from `(i − bins / 2) · width` up to, and without, `(i + 1 − bins / 2) · width`, with the
/// [`width`](Self::width) that the numbers seen so far need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
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

/// What a file says.
#[derive(Deserialize)]
struct Unchecked {
    granularity: Granularity,
    bins: Bins,
    histograms: Vec<Histogram>,
}

impl TryFrom<Unchecked> for Histograms {
    type Error = Error;

    fn try_from(file: Unchecked) -> Result<Self> {
        let bins = Bins::checked(file.bins.bins, file.bins.width, file.bins.least_level)?;
        for histogram in &file.histograms {
            let (counts, total) =
                (histogram.counts.len(), histogram.counts.iter().fold(0u64, |a, &b| a.saturating_add(b)));
            require!(
                counts == bins.bins() && total == histogram.seen.count,
                "a histogram has {counts} bins that hold {total} numbers, but should have {} that hold {}",
                bins.bins(),
                histogram.seen.count
            );
            let level = level(&bins, &histogram.seen);
            require!(
                histogram.level == level,
                "a histogram is at level {}, but its numbers need level {level}",
                histogram.level
            );
        }
        Ok(Self { granularity: file.granularity, bins, histograms: file.histograms })
    }
}

fn level(bins: &Bins, seen: &Seen) -> i32 {
    seen.bounds().map_or(0, |(low, high)| bins.level(low, high))
}

impl Histograms {
    /// Histograms that have seen nothing.
    #[must_use]
    pub fn empty(op: &ObserveHistogram) -> Self {
        let empty = Histogram { seen: Seen::default(), level: 0, counts: vec![0; op.bins().bins()] };
        Self { granularity: op.granularity(), bins: op.bins(), histograms: vec![empty; op.state().dimensions()[0]] }
    }

    /// What a state of the op says.
    ///
    /// # Errors
    /// If the tensor is not of the state's type.
    pub fn from_state(op: &ObserveHistogram, state: &Tensor) -> Result<Self> {
        let words = state_words(state, op.state())?;
        let histogram = |words: &[i32]| Histogram {
            seen: Seen::read(words),
            level: words[6],
            counts: words[ObserveHistogram::HEADER..].chunks_exact(2).map(wide).collect(),
        };
        let histograms = words.chunks_exact(op.state().dimensions()[1]).map(histogram).collect();
        Ok(Self { histograms, ..Self::empty(op) })
    }

    /// The state that says this, for the op to go on from.
    ///
    /// # Errors
    /// If they are not the op's: another number, granularity or bins.
    pub fn to_state(&self, op: &ObserveHistogram) -> Result<Tensor> {
        self.check(&Self::empty(op))?;
        let words = |h: &Histogram| {
            let header = h.seen.words().into_iter().chain([h.level, 0]);
            header.chain(h.counts.iter().flat_map(|&count| pair(count))).collect::<Vec<_>>()
        };
        Tensor::new(op.state().dimensions(), self.histograms.iter().flat_map(words).collect::<Vec<_>>())
    }

    /// Which elements share a histogram.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// How many histograms there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.histograms.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histograms.is_empty()
    }

    /// The bounds of what a histogram has seen; `None` where that is no finite number, or beyond the last histogram.
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

    /// The count of each bin; nothing beyond the last histogram.
    #[must_use]
    pub fn counts(&self, index: usize) -> &[u64] {
        self.histograms.get(index).map_or(&[], |h| &h.counts)
    }

    /// How many NaN and infinities were left out.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.histograms.iter().map(|h| h.seen.skipped).sum()
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

    /// Takes in what others have seen: exactly what one pass over all batches gives.
    ///
    /// # Errors
    /// If they are others of another number, granularity or bins.
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
                    counts[(((i as i64 - half) >> rise) + half) as usize] += count;
                }
            }
            *histogram = Histogram { seen, level, counts };
        }
        Ok(())
    }
}
