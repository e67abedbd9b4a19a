//! Observation of tensors while a network runs: ranges and histograms that grow batch by batch on the device. `calibrate` turns
//! them into scales, and serializes and merges them. The meaning is `reference/observe.rs`, the GPU programs are
//! `kernels/calibrate/observe.rs`.

use super::{OpDef, require_float32};
use crate::error::{Error, Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, TensorType};

/// The update of a range by another batch.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum RangeUpdate {
    /// The least and greatest number of all batches.
    MinMax,
    /// `bound + constant · (bound of the batch − bound)`, each step one f32 operation. The first batch sets the first bounds
    /// (torch's MovingAverageMinMaxObserver).
    MovingAverage {
        /// The weight of a batch, above 0 and at most 1.
        constant: f32,
    },
}

impl RangeUpdate {
    pub(crate) fn check(self) -> Result<()> {
        if let Self::MovingAverage { constant } = self {
            require!(
                constant > 0.0 && constant <= 1.0,
                "the averaging constant is {constant}, but it must be above 0 and at most 1"
            );
        }
        Ok(())
    }
}

/// Updates ranges on the device by a float32 tensor. Inputs: the tensor and the state. Output: the next state.
///
/// A state is int32 `[ranges, 6]`, initially all zeros: the bits of the least and greatest number, the count of numbers, and the
/// count of NaN and infinite elements, which are skipped (each count in two words, low one first).
/// [`calibrate::Ranges`](crate::calibrate::Ranges) reads it. There is one range for the whole tensor, per index of an axis, or per
/// block of an axis. −0 is less than +0. A batch without a finite number changes only the count of skipped elements. Counts
/// saturate at 2⁶⁴ − 1. A state may hold any words: bounds that are not finite count as the nearest finite number; NaN, and bounds
/// of an empty range, count as 0.
///
/// ```
/// use lowbit::{Granularity, Tensor, calibrate::Ranges, ops::{ObserveRange, RangeUpdate}, reference};
/// let x = Tensor::new([2, 2], vec![1.0f32, -2.0, 3.0, f32::NAN])?;
/// let op = ObserveRange::new(x.tensor_type().clone(), Granularity::Axis(1), RangeUpdate::MinMax)?;
/// let empty = Tensor::new([2, 6], vec![0i32; 12])?;
/// let state = reference::run(&op.clone().into(), &[&x, &empty])?.remove(0);
/// let ranges = Ranges::from_state(&op, &state)?;
/// assert_eq!(ranges.bounds(), [Some((1.0, 3.0)), Some((-2.0, -2.0))]);
/// assert_eq!(ranges.skipped(), 1);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ObserveRange {
    input: TensorType,
    state: TensorType,
    granularity: Granularity,
    rule: RangeUpdate,
}

impl ObserveRange {
    /// Number of words of one range.
    pub(crate) const WORDS: usize = 6;

    /// An observation of tensors of type `input`, float32.
    ///
    /// # Errors
    /// If the input is not float32, the granularity doesn't fit it, or the constant of a moving average is out of range.
    pub fn new(input: TensorType, granularity: Granularity, rule: RangeUpdate) -> Result<Self> {
        require_float32("observe_range", "the input", &input)?;
        let ranges = granularity.parameters(input.shape())?;
        rule.check()?;
        let state = TensorType::new(DType::Int32, [ranges, Self::WORDS])?;
        Ok(Self { input, state, granularity, rule })
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    /// The type of the state.
    #[must_use]
    pub fn state(&self) -> &TensorType {
        &self.state
    }

    /// The elements that share a range.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The update of a range by another batch.
    #[must_use]
    pub fn rule(&self) -> RangeUpdate {
        self.rule
    }
}

impl OpDef for ObserveRange {
    fn name(&self) -> &'static str {
        "observe_range"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone(), self.state.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.state.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let resized = Self::new(inputs[0].clone(), self.granularity, self.rule)?;
        check_ranges(&self.state, &resized.state, &resized.input)?;
        Ok(resized)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}

/// Refuses a resized input whose number of ranges differs: ranges per index of the first dimension depend on its extent.
fn check_ranges(own: &TensorType, resized: &TensorType, input: &TensorType) -> Result<()> {
    require!(
        own == resized,
        "{input} has {} ranges, but the state was made for {}: the observed granularity must not depend on the first \
         dimension where its extent changes",
        resized.dims()[0],
        own.dims()[0]
    );
    Ok(())
}

/// The bins of a histogram.
///
/// Bin j, −`bins`/2 ≤ j < `bins`/2, counts the numbers from `j · width · 2^level` (included) to `(j + 1) · width · 2^level`
/// (excluded). The level is the least one, but at least `least_level`, at which every number so far has a bin. When it rises, bins
/// are merged by powers of two. So a histogram depends only on the numbers, not on their order or on the division into batches, and
/// two histograms merge exactly.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "BinsFile")]
pub struct Bins {
    pub(crate) bins: usize,
    pub(crate) width: f32,
    pub(crate) least_level: i32,
}

/// The serialized form, before validation.
#[derive(serde::Deserialize)]
struct BinsFile {
    bins: usize,
    width: f32,
    least_level: i32,
}

impl TryFrom<BinsFile> for Bins {
    type Error = Error;

    fn try_from(file: BinsFile) -> Result<Self> {
        Self::checked(file.bins, file.width, file.least_level)
    }
}

impl Bins {
    /// This number of bins, each a power of two wide and as narrow as the numbers allow: a quarter to a half of the bins lie on the
    /// wider side of zero.
    ///
    /// # Errors
    /// If the number of bins is odd or not in 16 … 32,768.
    pub fn new(bins: usize) -> Result<Self> {
        Self::checked(bins, 1.0, -126)
    }

    /// This number of bins, never narrower than `width`. They have exactly this width while the numbers lie within ±`bins`/2 ·
    /// `width`.
    ///
    /// # Errors
    /// If the number of bins is odd or not in 16 … 32,768, or the width is not a normal positive number.
    pub fn of_width(bins: usize, width: f32) -> Result<Self> {
        Self::checked(bins, width, 0)
    }

    fn checked(bins: usize, width: f32, least_level: i32) -> Result<Self> {
        require!(
            bins.is_multiple_of(2) && (16..=32_768).contains(&bins),
            "a histogram of {bins} bins: make it an even number from 16 to 32,768"
        );
        require!(
            width.is_normal() && width > 0.0,
            "bins {width:e} wide: the width must be a positive number from {:e} on",
            f32::MIN_POSITIVE
        );
        require!((-126..=0).contains(&least_level), "bins from level {least_level} on: the least level is -126 to 0");
        Ok(Self { bins, width, least_level })
    }

    /// Number of bins.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// The width of a bin at level 0.
    #[must_use]
    pub fn width(&self) -> f32 {
        self.width
    }

    /// The index j of a finite number's bin at a level: the floor of its exact quotient by the width of a bin there.
    pub(crate) fn place(&self, value: f32, level: i32) -> i64 {
        // A quotient of two f32 that is not an integer differs from the nearest integer j below 2^29 by more than 2^-53 · j, so f64
        // is exact enough.
        (f64::from(value) / (f64::from(self.width) * 2f64.powi(level))).floor() as i64
    }

    /// The least level at which both numbers have a bin.
    pub(crate) fn level(&self, low: f32, high: f32) -> i32 {
        let half = self.bins as i64 / 2;
        let fits = |level: i32| self.place(low, level) >= -half && self.place(high, level) < half;
        (self.least_level..).find(|&level| fits(level)).expect("every f32 is below some power of two")
    }
}

/// Updates histograms on the device by a float32 tensor. Inputs: the tensor and the state. Output: the next state.
///
/// A state is int32 `[histograms, 8 + 2 · bins]`, initially all zeros: the six words of [`ObserveRange`], the level and a zero,
/// then the count of each bin in two words, low one first. [`Bins`] defines the bins. NaN and infinite elements are skipped and
/// counted. [`calibrate::Histograms`](crate::calibrate::Histograms) reads the state. A state may hold any words, as in
/// [`ObserveRange`], and its bounds in either order. The update merges its bins into those of the level that its bounds and the
/// batch need. The bins stay unchanged if the state's level is not below that level.
///
/// ```
/// use lowbit::{Granularity, Tensor, calibrate::Histograms, ops::{Bins, ObserveHistogram}, reference};
/// let x = Tensor::new([4], vec![0.5f32, -0.5, 3.0, 1e9])?;
/// let op = ObserveHistogram::new(x.tensor_type().clone(), Granularity::Tensor, Bins::new(16)?)?;
/// let empty = Tensor::new([1, 40], vec![0i32; 40])?;
/// let state = reference::run(&op.clone().into(), &[&x, &empty])?.remove(0);
/// let histogram = &Histograms::from_state(&op, &state)?;
/// assert_eq!(histogram.width(0), Some(134_217_728.0)); // 2^27: 1e9 lies in the last of 8 such bins above zero
/// assert_eq!(histogram.counts(0)[7..], [1, 2, 0, 0, 0, 0, 0, 0, 1]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ObserveHistogram {
    input: TensorType,
    state: TensorType,
    granularity: Granularity,
    bins: Bins,
}

impl ObserveHistogram {
    /// Number of words of a histogram before its bins.
    pub(crate) const HEADER: usize = 8;

    /// An observation of tensors of type `input`, float32.
    ///
    /// # Errors
    /// If the input is not float32, or the granularity doesn't fit it.
    pub fn new(input: TensorType, granularity: Granularity, bins: Bins) -> Result<Self> {
        require_float32("observe_histogram", "the input", &input)?;
        let histograms = granularity.parameters(input.shape())?;
        let state = TensorType::new(DType::Int32, [histograms, Self::HEADER + 2 * bins.bins])?;
        Ok(Self { input, state, granularity, bins })
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    /// The type of the state.
    #[must_use]
    pub fn state(&self) -> &TensorType {
        &self.state
    }

    /// The elements that share a histogram.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The bins of each histogram.
    #[must_use]
    pub fn bins(&self) -> Bins {
        self.bins
    }
}

impl OpDef for ObserveHistogram {
    fn name(&self) -> &'static str {
        "observe_histogram"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone(), self.state.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.state.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let resized = Self::new(inputs[0].clone(), self.granularity, self.bins)?;
        check_ranges(&self.state, &resized.state, &resized.input)?;
        Ok(resized)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
