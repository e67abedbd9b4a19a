//! Ranges on the host: conversion from and to `ops::ObserveRange` states and files, and merging.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, require};
use crate::ops::{ObserveRange, RangeUpdate};
use crate::tensor::{Granularity, Tensor};

/// Least and greatest finite number, the number of finite numbers, and the number of skipped ones (NaN and infinities).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    pub min: f32,
    pub max: f32,
    pub count: u64,
    pub skipped: u64,
}

impl Seen {
    pub(super) fn bounds(&self) -> Option<(f32, f32)> {
        (self.count > 0).then_some((self.min, self.max))
    }

    /// An error for a value that no observer makes; the bounds of an empty range become 0.
    pub(super) fn checked(self) -> Result<Self> {
        let Some((min, max)) = self.bounds() else { return Ok(Self { min: 0.0, max: 0.0, ..self }) };
        require!(
            min.is_finite() && max.is_finite() && min <= max,
            "a range of {} numbers is from {min} to {max}, but its bounds must be finite and in order",
            self.count
        );
        Ok(self)
    }

    /// Decodes the first words of a state.
    pub(super) fn read(words: &[i32]) -> Self {
        let float = |i: usize| f32::from_bits(words[i] as u32);
        Self { min: float(0), max: float(1), count: wide(&words[2..4]), skipped: wide(&words[4..6]) }
    }

    pub(super) fn words(&self) -> [i32; 6] {
        let ([a, b], [c, d]) = (pair(self.count), pair(self.skipped));
        [self.min.to_bits() as i32, self.max.to_bits() as i32, a, b, c, d]
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        let [count, skipped] =
            [(self.count, other.count), (self.skipped, other.skipped)].map(|(a, b)| a.saturating_add(b));
        let (min, max) = match (self.bounds(), other.bounds()) {
            (Some(a), Some(b)) => {
                let less = |x: f32, y: f32| if x.total_cmp(&y).is_le() { (x, y) } else { (y, x) };
                (less(a.0, b.0).0, less(a.1, b.1).1)
            }
            (bounds, others) => bounds.or(others).unwrap_or_default(),
        };
        Self { min, max, count, skipped }
    }
}

/// Decodes a count from two words, the low word first.
pub(super) fn wide(words: &[i32]) -> u64 {
    u64::from(words[0] as u32) | u64::from(words[1] as u32) << 32
}

pub(super) fn pair(count: u64) -> [i32; 2] {
    [count as i32, (count >> 32) as i32]
}

/// An error if a tensor as a whole has not exactly one range.
pub(super) fn check_count(granularity: Granularity, count: usize) -> Result<()> {
    require!(
        granularity != Granularity::Tensor || count == 1,
        "{count} ranges were seen of a tensor as a whole, which has 1"
    );
    Ok(())
}

/// The words of a state; an error if it isn't of the op's type.
pub(super) fn state_words<'a>(state: &'a Tensor, expected: &crate::TensorType) -> Result<&'a [i32]> {
    require!(
        state.dtype() == expected.dtype() && state.dims() == expected.dims(),
        "the state is {}, but the op's is {expected}",
        state.tensor_type()
    );
    state.values::<i32>()
}

/// The ranges of a tensor. Serializes with serde. Counts saturate at 2⁶⁴ − 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File")]
pub struct Ranges {
    granularity: Granularity,
    rule: RangeUpdate,
    ranges: Vec<Seen>,
}

/// The serialized form, not yet checked.
#[derive(Deserialize)]
struct File {
    granularity: Granularity,
    rule: RangeUpdate,
    ranges: Vec<Seen>,
}

impl TryFrom<File> for Ranges {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        file.rule.check()?;
        Self::checked(file.granularity, file.rule, file.ranges)
    }
}

impl Ranges {
    fn checked(granularity: Granularity, rule: RangeUpdate, ranges: Vec<Seen>) -> Result<Self> {
        check_count(granularity, ranges.len())?;
        // Rounding may make the averages of the bounds cross if a range has only one number.
        let ordered = |seen: Seen| match rule {
            RangeUpdate::MovingAverage { .. } if seen.min > seen.max => Seen { min: seen.max, max: seen.min, ..seen },
            _ => seen,
        };
        let ranges = ranges.into_iter().map(|seen| ordered(seen).checked()).collect::<Result<_>>()?;
        Ok(Self { granularity, rule, ranges })
    }

    /// Ranges that have seen nothing.
    #[must_use]
    pub fn empty(op: &ObserveRange) -> Self {
        let ranges = vec![Seen::default(); op.state().dims()[0]];
        Self { granularity: op.granularity(), rule: op.rule(), ranges }
    }

    /// The ranges in a state of the op.
    ///
    /// # Errors
    /// If the tensor is not of the state's type, or holds ranges that no observer makes.
    pub fn from_state(op: &ObserveRange, state: &Tensor) -> Result<Self> {
        let words = state_words(state, op.state())?;
        Self::checked(op.granularity(), op.rule(), words.chunks_exact(ObserveRange::WORDS).map(Seen::read).collect())
    }

    /// The state with these ranges, from which the op can continue.
    ///
    /// # Errors
    /// If the ranges have another number, granularity or rule than the op's.
    pub fn to_state(&self, op: &ObserveRange) -> Result<Tensor> {
        self.check(&Self::empty(op))?;
        let words: Vec<i32> = self.ranges.iter().flat_map(Seen::words).collect();
        Tensor::new(op.state().dims(), words)
    }

    /// The elements that share a range.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The bounds of each range; `None` where no finite number was seen.
    #[must_use]
    pub fn bounds(&self) -> Vec<Option<(f32, f32)>> {
        self.ranges.iter().map(Seen::bounds).collect()
    }

    /// Number of finite numbers that were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.count))
    }

    /// Number of NaN and infinities that were skipped.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.skipped))
    }

    fn check(&self, other: &Self) -> Result<()> {
        require!(
            self.granularity == other.granularity && self.rule == other.rule && self.ranges.len() == other.ranges.len(),
            "{} ranges by {:?} ({:?}) don't go with {} by {:?} ({:?}): observe with the same observer everywhere",
            self.ranges.len(),
            self.granularity,
            self.rule,
            other.ranges.len(),
            other.granularity,
            other.rule
        );
        Ok(())
    }

    /// Adds another observer's ranges. The result is exactly that of one pass over all batches.
    ///
    /// # Errors
    /// If the other has another number, granularity or rule, or they are moving averages, which depend on the order of batches.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.check(other)?;
        require!(
            self.rule == RangeUpdate::MinMax,
            "moving averages depend on the order of batches and don't merge: observe extremes or a histogram"
        );
        for (range, other) in self.ranges.iter_mut().zip(&other.ranges) {
            *range = range.and(other);
        }
        Ok(())
    }
}
