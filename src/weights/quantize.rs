//! Quantization of real numbers to codes and scales: a rule for the scale of a group, a search for a better scale, and the nearest
//! code. Storage formats are in `format`, the bit layout in `layout`, the GPU's implementation in `ops::QuantizeWeights`.

use std::cmp::Ordering;
use std::sync::Arc;

use half::f16;

use super::PackedWeights;
use super::format::{GroupParams, OffsetKind, ScaleFormat, WeightFormat};
use crate::error::{Error, Result, refuse, require};
use crate::numeric::round_saturating;
use crate::tensor::Tensor;

/// Number of lanes of a sum. A sum of f32 depends on its order; this order suits both a CPU and a GPU.
const LANES: usize = 32;

/// The formula for the scale of a group, from its least and greatest number. `least` and `greatest` are the integers of the format:
/// −8 and 7 for int4.
///
/// The first four are for formats without zero points or offsets, the last two for formats with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupScaleRule {
    /// `max |x| / greatest`: codes −127 … 127 (ONNX Runtime, TFLite).
    Narrow,
    /// `max |x| / ((greatest − least) / 2)`: 127.5 for int8 (torchao's symmetric mapping).
    Middle,
    /// `x / least` with the x of greatest |x|. This x is a code exactly; other numbers may be clipped by up to one step. The scale
    /// may be negative (ggml's Q4_0, NNCF, ONNX Runtime's MatMulNBits).
    SignedMax,
    /// `max(min / least, max / greatest)`: nothing is clipped (torchao's symmetric mapping without clipping error).
    NoClipping,
    /// `(max − min) / (greatest − least)` of the range extended to contain 0.
    MinMax,
    /// `(max − min) / (greatest − least)` of the exact range, which needs an offset (ggml's Q4_1).
    Tight,
}

/// A search for the scale with the least weighted squared error `Σ w · (x − real(code))²`, starting at the rule's scale.
///
/// It tries ranges of `least …= most` times the true one, in equal steps. For the codes of each range it computes the best scale
/// and offset by least squares, as ggml's quantizers do, if the format permits it (all but integer zero points and powers of two).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Search {
    /// The smallest range, relative to the true one.
    pub least: f32,
    /// The largest range, relative to the true one.
    pub most: f32,
    /// Number of ranges to try.
    pub steps: u32,
}

impl Default for Search {
    /// 24 ranges from 0.55 to 1.1.
    fn default() -> Self {
        Self { least: 0.55, most: 1.1, steps: 24 }
    }
}

impl Search {
    /// This search with this smallest range.
    #[must_use]
    pub const fn with_least(mut self, least: f32) -> Self {
        self.least = least;
        self
    }

    /// This search with this largest range.
    #[must_use]
    pub const fn with_most(mut self, most: f32) -> Self {
        self.most = most;
        self
    }

    /// This search with this number of ranges.
    #[must_use]
    pub const fn with_steps(mut self, steps: u32) -> Self {
        self.steps = steps;
        self
    }
}

impl Search {
    /// The relative size of the first range, and the difference from one range to the next.
    pub(crate) fn grid(&self) -> (f32, f32) {
        (self.least, (self.most - self.least) / (self.steps.max(2) - 1) as f32)
    }
}

/// The quantization of real weights to [`PackedWeights`] of a format.
///
/// ```
/// use lowbit::weights::{Codes, Quantizer, GroupScaleRule, ScaleFormat, Search, WeightFormat};
/// use lowbit::Tensor;
/// let weights = Tensor::new([1, 32], (0..32).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>())?;
/// let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
/// let error = |quantizer: Quantizer| -> lowbit::Result<f32> {
///     let real = quantizer.quantize(&weights)?.dequantize()?;
///     let pairs = real.values::<f32>()?.iter().zip(weights.values::<f32>()?);
///     Ok(pairs.map(|(a, b)| (a - b) * (a - b)).sum())
/// };
/// let rounded = error(Quantizer::new(format)?)?;
/// let narrow = error(Quantizer::new(format)?.rule(GroupScaleRule::Narrow)?)?;
/// let searched = error(Quantizer::new(format)?.search(Search::default())?)?;
/// // A search is never worse than the rule it begins with; which rule is best depends on the weights.
/// assert!(searched < rounded && narrow < rounded);
/// # Ok::<(), lowbit::Error>(())
/// ```
///
/// All arithmetic is single f32 operations in a fixed order, so equal numbers give equal bits everywhere, including on a GPU
/// ([`QuantizeWeights`](crate::ops::QuantizeWeights)). Codes are the nearest to `x / scale` for the stored scale. Ties go to the
/// even code (of two table entries, to the greater).
#[derive(Debug, Clone, PartialEq)]
pub struct Quantizer {
    format: WeightFormat,
    rule: GroupScaleRule,
    search: Option<Search>,
    importance: Option<Arc<[f32]>>,
}

impl Quantizer {
    /// A quantizer that rounds to nearest with the default rule of the format: [`GroupScaleRule::SignedMax`] for scales without
    /// shifts ([`GroupScaleRule::NoClipping`] for powers of two), [`GroupScaleRule::MinMax`] with zero points, and
    /// [`GroupScaleRule::Tight`] with offsets.
    ///
    /// # Errors
    /// If the quantizer doesn't support the format. Floats are quantized in blocks ([`BlockQuantize`](crate::ops::BlockQuantize)),
    /// unsigned codes need an offset or a real zero point, integer zero points need signed codes, and nested offsets need unsigned
    /// codes.
    pub fn new(format: WeightFormat) -> Result<Self> {
        require!(
            format.codes.float().is_none() && format.scales != ScaleFormat::NestedE4M3,
            "{format} is made of blocks of floats: call BlockQuantize, and PackedWeights::from_blocks"
        );
        let unsigned = format.codes.bias() != 0;
        let fits = match format.scales {
            ScaleFormat::F32RealZero | ScaleFormat::F32Offset | ScaleFormat::F16Offset => true,
            ScaleFormat::NestedOffset(_) => unsigned,
            _ => !unsigned,
        };
        require!(
            fits,
            "{format} can't hold numbers of both signs: take {} codes",
            if unsigned { "signed" } else { "unsigned" }
        );
        require!(
            format.scales.shift() == OffsetKind::None || format.codes.table().is_none(),
            "{format}: codes of a table are quantized with scales alone"
        );
        let rule = match format.scales {
            ScaleFormat::E8M0 => GroupScaleRule::NoClipping,
            ScaleFormat::F32Offset | ScaleFormat::F16Offset => GroupScaleRule::Tight,
            scales if scales.shift() != OffsetKind::None => GroupScaleRule::MinMax,
            _ => GroupScaleRule::SignedMax,
        };
        Ok(Self { format, rule, search: None, importance: None })
    }

    /// This quantizer with another rule.
    ///
    /// # Errors
    /// If the rule is not valid for the format.
    pub fn rule(mut self, rule: GroupScaleRule) -> Result<Self> {
        let fits = match rule {
            GroupScaleRule::SignedMax => {
                self.format.scales.shift() == OffsetKind::None && self.format.scales != ScaleFormat::E8M0
            }
            GroupScaleRule::Narrow | GroupScaleRule::Middle | GroupScaleRule::NoClipping => {
                self.format.scales.shift() == OffsetKind::None
            }
            GroupScaleRule::MinMax => self.format.scales.shift() != OffsetKind::None,
            GroupScaleRule::Tight => matches!(self.format.scales, ScaleFormat::F32Offset | ScaleFormat::F16Offset),
        };
        require!(
            fits,
            "{rule:?} is no rule for {}: scales alone take Narrow, Middle, SignedMax (not powers of two) or Unclipped, zero \
             points MinMax, offsets MinMax or Tight",
            self.format
        );
        self.rule = rule;
        Ok(self)
    }

    /// This quantizer with a search for scales of smaller error.
    ///
    /// # Errors
    /// If the ranges are not positive, finite and ordered, or there are none or more than 10,000.
    pub fn search(mut self, search: Search) -> Result<Self> {
        let Search { least, most, steps } = search;
        require!(
            least > 0.0 && least <= most && most <= 16.0 && (1..=10_000).contains(&steps),
            "a search in {steps} steps from {least} to {most} of the range: take 1 to 10000 steps in 0 < least <= most <= 16"
        );
        self.search = Some(search);
        Ok(self)
    }

    /// This quantizer with a weight for the error of each column in a search, for example the mean square of the column's
    /// activations. One number per column of the weights.
    ///
    /// # Errors
    /// If a number is negative or not finite, or all are zero.
    pub fn importance(mut self, of_columns: &[f32]) -> Result<Self> {
        let odd = of_columns.iter().position(|w| !(w.is_finite() && *w >= 0.0));
        require!(
            odd.is_none(),
            "the importance of column {} is {}, but it must be finite and at least 0",
            odd.unwrap_or(0),
            odd.map_or(0.0, |i| of_columns[i])
        );
        let most = of_columns.iter().copied().fold(0.0f32, f32::max);
        require!(most > 0.0, "the importance of all {} columns is 0: leave it out", of_columns.len());
        self.importance = Some(of_columns.iter().map(|w| w / most).collect());
        Ok(self)
    }

    /// The format of the quantized weights.
    #[must_use]
    pub fn format(&self) -> &WeightFormat {
        &self.format
    }

    pub(crate) fn rule_of_scale(&self) -> GroupScaleRule {
        self.rule
    }

    pub(crate) fn search_of_scale(&self) -> Option<Search> {
        self.search
    }

    pub(crate) fn importance_of_columns(&self) -> Option<&[f32]> {
        self.importance.as_deref()
    }

    /// The quantized weights of a float32 or float16 tensor `[n, k]` or `[experts, n, k]`.
    ///
    /// # Errors
    /// If the tensor has another data type or rank, a number is not finite or needs a scale beyond the format, or the importance
    /// has another number of columns.
    pub fn quantize(&self, tensor: &Tensor) -> Result<PackedWeights> {
        let dims = match *tensor.dims() {
            [n, k] => [1, n, k],
            [experts, n, k] => [experts, n, k],
            _ => {
                require!(
                    false,
                    "{} has {} dimensions, but weights are [n, k] or [experts, n, k]",
                    tensor.tensor_type(),
                    tensor.dims().len()
                );
                [0; 3]
            }
        };
        let k = dims[2];
        if let Ok(values) = tensor.values::<f32>() {
            return self.rows(dims, |row, out| {
                out.copy_from_slice(&values[row * k..(row + 1) * k]);
                Ok(())
            });
        }
        let Ok(values) = tensor.values::<f16>() else {
            refuse!("{} can't be quantized: give float32 or float16", tensor.tensor_type());
        };
        self.rows(dims, |row, out| {
            out.iter_mut().zip(&values[row * k..]).for_each(|(out, x)| *out = x.to_f32());
            Ok(())
        })
    }

    /// The quantized weights of rows that are made one by one, several at a time and in any order. `row(index, numbers)` fills in
    /// the k numbers of row `index` of all matrices. Besides the result, only one row per thread is in memory.
    ///
    /// # Errors
    /// As [`quantize`](Self::quantize). Also if `row` fails.
    pub fn rows(
        &self,
        dims: [usize; 3],
        row: impl Fn(usize, &mut [f32]) -> Result<()> + Sync,
    ) -> Result<PackedWeights> {
        self.check_importance(dims[2])?;
        PackedWeights::build(self.format, dims, |index, codes, groups, supers| {
            let mut numbers = vec![0.0f32; codes.len()];
            row(index, &mut numbers)?;
            if let Some(odd) = numbers.iter().position(|x| !x.is_finite()) {
                refuse!("weight {odd} of row {index} is {}, and can't be quantized", numbers[odd]);
            }
            if self.fill_row(&numbers, codes, groups, supers) { Ok(()) } else { Err(self.refusal(index)) }
        })
    }

    /// The error for a row that the format can't hold.
    pub(crate) fn refusal(&self, row: usize) -> Error {
        Error::Request(format!(
            "row {row} needs a scale, an offset or a range beyond what {} stores: take f32 scales, or divide the weights by a \
             constant",
            self.format
        ))
    }

    pub(crate) fn check_importance(&self, k: usize) -> Result<()> {
        if let Some(importance) = &self.importance {
            require!(
                importance.len() == k,
                "the importance of {} columns was given, but the weights have k = {k}: give one number per column",
                importance.len()
            );
        }
        Ok(())
    }

    /// The scale and shift for the numbers of a group, as the format stores them (for nested formats, before nesting). `importance`
    /// weights the error of each number in a search.
    ///
    /// Infinities count as the greatest finite number, and NaN as 0. A scale or offset beyond the format becomes the greatest of
    /// the format. ([`quantize`](Self::quantize) refuses all of these.)
    #[must_use]
    pub fn group(&self, numbers: &[f32], importance: Option<&[f32]>) -> GroupParams {
        self.scaling().group(numbers, importance)
    }

    /// The scale and shift of a group; `None` if [`quantize`](Self::quantize) refuses the group. Only the rule's result decides
    /// this, so a search refuses no other numbers.
    pub(crate) fn held_group(&self, numbers: &[f32], importance: Option<&[f32]>) -> Option<GroupParams> {
        let scaling = self.scaling();
        let finite = numbers.iter().all(|x| x.is_finite());
        (finite && scaling.holds(scaling.range(numbers))).then(|| scaling.group(numbers, importance))
    }

    /// The code of a number, as [`PackedWeights::build`] takes it: the nearest one for the group's scale, within the format's
    /// range.
    #[must_use]
    pub fn code(&self, number: f32, group: GroupParams) -> i8 {
        let value = self.scaling().value(clean(number), group);
        (value - i32::from(self.format.codes.bias())) as i8
    }

    fn scaling(&self) -> Scaling<'_> {
        let codes = self.format.codes;
        let (low, high) = codes.range();
        let (low, high) = (i32::from(low) + i32::from(codes.bias()), i32::from(high) + i32::from(codes.bias()));
        let numbers = codes.table().map(|numbers| numbers.into_iter().take(1 << codes.bits()));
        let reach = numbers.map_or((low as f32, high as f32), |numbers| {
            numbers.fold((0.0f32, 0.0f32), |(low, high), number| (low.min(number), high.max(number)))
        });
        // Nested scales are first computed in f32.
        let scales = match self.format.scales {
            ScaleFormat::Nested(_) => ScaleFormat::F32,
            ScaleFormat::NestedOffset(_) => ScaleFormat::F32Offset,
            scales => scales,
        };
        Scaling { quantizer: self, scales, low, high, reach }
    }

    /// Quantizes a row; true if the format holds it. A group that the format can't hold gets an infinite scale.
    pub(crate) fn fill_row(
        &self,
        numbers: &[f32],
        codes: &mut [i8],
        groups: &mut [GroupParams],
        supers: &mut [GroupParams],
    ) -> bool {
        let size = self.format.group.min(numbers.len().max(1));
        let (effective, held) = match self.format.scales.nesting() {
            None => {
                let held = self.find_groups(numbers, groups);
                (groups.to_vec(), held)
            }
            Some(nesting) => {
                // Super groups are computed after the groups, so a search can't take them into account. If the format doesn't hold
                // the search's result, the rule's result is used.
                let rule = Self { search: None, ..self.clone() };
                let mut nested = |quantizer: &Self| {
                    let held = quantizer.find_groups(numbers, groups);
                    let effective = quantizer.nest(nesting, groups, supers);
                    (effective, held && supers.iter().all(|of| below_f16(of.scale) && below_f16(of.shift)))
                };
                let by_rule = nested(&rule);
                match self.search {
                    Some(_) if by_rule.1 => {
                        Some(nested(self)).filter(|searched| searched.1).unwrap_or_else(|| nested(&rule))
                    }
                    _ => by_rule,
                }
            }
        };
        for ((codes, numbers), &group) in codes.chunks_mut(size).zip(numbers.chunks(size)).zip(&effective) {
            codes.iter_mut().zip(numbers).for_each(|(code, &x)| *code = self.code(x, group));
        }
        held
    }

    /// Computes the groups of a row, before nesting. True if the format holds all of them.
    fn find_groups(&self, numbers: &[f32], groups: &mut [GroupParams]) -> bool {
        let size = self.format.group.min(numbers.len().max(1));
        let importance = |g: usize| {
            let all = self.importance.as_deref()?;
            all.get(g * size..(g * size + size).min(all.len()))
        };
        let mut held = true;
        for (g, (group, numbers)) in groups.iter_mut().zip(numbers.chunks(size)).enumerate() {
            let found = self.held_group(numbers, importance(g));
            held &= found.is_some();
            *group = found.unwrap_or(GroupParams::scale(f32::INFINITY));
        }
        held
    }

    /// Replaces groups by integers that multiply the numbers of their super groups, each of `nesting` groups. Returns the effective
    /// scales and shifts of the codes.
    fn nest(&self, nesting: usize, groups: &mut [GroupParams], supers: &mut [GroupParams]) -> Vec<GroupParams> {
        let offsets = self.format.scales.shift() == OffsetKind::Offset;
        let (low, high) = if offsets { (0, 255) } else { (-128, 127) };
        let mut effective = Vec::with_capacity(groups.len());
        for (groups, of) in groups.chunks_mut(nesting).zip(supers) {
            let largest = |number: fn(&GroupParams) -> f32| {
                groups.iter().map(number).fold(0.0f32, |a, x| if x.abs() > a.abs() { x } else { a })
            };
            let (scale, shift) = (largest(|g| g.scale), largest(|g| g.shift));
            // Integers reach 127 on either side, or 255 with the sign of the offsets.
            *of = GroupParams::new(half(scale.abs() / high as f32), half(shift / high as f32));
            for group in groups {
                let integer =
                    |x: f32, unit: f32| if unit == 0.0 { 0 } else { round_saturating(x / unit, low, high) } as f32;
                *group = GroupParams::new(
                    integer(group.scale, of.scale),
                    if offsets { integer(group.shift, of.shift) } else { 0.0 },
                );
                effective.push(GroupParams::new(group.scale * of.scale, group.shift * of.shift));
            }
        }
        effective
    }
}

/// The nearest finite f16.
fn half(x: f32) -> f32 {
    plus_zero(f16::from_f32(x).to_f32().clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

/// True if [`half`] didn't saturate this number.
fn below_f16(x: f32) -> bool {
    x.abs() < f16::MAX.to_f32()
}

fn plus_zero(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x }
}

fn clean(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.clamp(f32::MIN, f32::MAX) }
}

/// x · 2^exponent, rounded once.
fn times_power(x: f32, exponent: i32) -> f32 {
    (f64::from(x) * f64::from_bits(((1023 + exponent) as u64) << 52)) as f32
}

/// The exponent of the greatest power of two that is at most a positive number.
fn exponent(x: f32) -> i32 {
    let bits = x.to_bits();
    if bits >> 23 == 0 { 31 - bits.leading_zeros() as i32 - 149 } else { (bits >> 23) as i32 - 127 }
}

/// The sum of terms in 32 lanes: each lane adds every 32nd term, then the upper half of the lanes is repeatedly added to the lower.
fn lanes_sum(count: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    (0..count).for_each(|i| lanes[i % LANES] += term(i));
    let mut half = LANES / 2;
    while half > 0 {
        (0..half).for_each(|lane| lanes[lane] += lanes[lane + half]);
        half /= 2;
    }
    lanes[0]
}

/// A quantizer with the range of its integers. Every operation here is one f32 operation of `shaders/grouped/find_scales.wgsl` or
/// `shaders/grouped/weight_code.wgsl`, in their order.
struct Scaling<'a> {
    quantizer: &'a Quantizer,
    scales: ScaleFormat,
    low: i32,
    high: i32,
    /// The least and greatest value of a code, for the rule.
    reach: (f32, f32),
}

impl Scaling<'_> {
    /// The least and greatest number, as the rule uses them.
    fn range(&self, numbers: &[f32]) -> (f32, f32) {
        let start = if self.quantizer.rule == GroupScaleRule::Tight { (f32::MAX, f32::MIN) } else { (0.0, 0.0) };
        let (low, high) = numbers.iter().map(|&x| clean(x)).fold(start, |(low, high), x| (low.min(x), high.max(x)));
        (plus_zero(low), plus_zero(high))
    }

    /// True if all dequantized numbers of a range are finite. Codes are monotonic, so the ends suffice.
    fn stays_finite(&self, (min, max): (f32, f32), group: GroupParams) -> bool {
        let format = WeightFormat { scales: self.scales, ..self.quantizer.format };
        [min, max].into_iter().all(|x| format.real(self.quantizer.code(x, group), group).is_finite())
    }

    /// True if the format stores the rule's result for a range without saturation.
    fn holds(&self, (min, max): (f32, f32)) -> bool {
        let spans = matches!(self.quantizer.rule, GroupScaleRule::MinMax | GroupScaleRule::Tight);
        let group = self.of_range(min, max);
        self.stays_finite((min, max), group)
            && (!spans || (max - min).is_finite())
            && match self.scales {
                ScaleFormat::F16 | ScaleFormat::F16Zero | ScaleFormat::F16Offset => {
                    below_f16(group.scale) && below_f16(group.shift)
                }
                ScaleFormat::E8M0 => self.rule_scale(min, max) <= group.scale,
                _ => true,
            }
    }

    fn group(&self, numbers: &[f32], importance: Option<&[f32]>) -> GroupParams {
        let tight = self.quantizer.rule == GroupScaleRule::Tight;
        let (low, high) = self.range(numbers);
        let mut best = self.of_range(low, high);
        let largest = low.abs().max(high.abs());
        let Some(search) = self.quantizer.search.filter(|_| largest > 0.0) else { return best };
        // Divided by this power of two, no square leaves f32.
        let unit = Unit { numbers, importance, exponent: exponent(largest) };
        let mut least = self.error(&unit, best);
        let (first, step) = search.grid();
        for i in 0..search.steps {
            let factor = first + step * i as f32;
            let (from, to) = if tight {
                let cut = (high - low).min(f32::MAX) * ((1.0 - factor) * 0.5);
                (clean(low + cut), clean(high - cut))
            } else {
                (clean(low * factor), clean(high * factor))
            };
            let Some(candidate) = self.refitted(&unit, self.of_range(from, to)) else { continue };
            let error = self.error(&unit, candidate);
            if error < least && self.stays_finite((low, high), candidate) {
                (best, least) = (candidate, error);
            }
        }
        best
    }

    /// The rule's scale for a range, before storage.
    fn rule_scale(&self, min: f32, max: f32) -> f32 {
        let (low, high) = self.reach;
        let span = (max - min).min(f32::MAX);
        match self.quantizer.rule {
            GroupScaleRule::Narrow => (-min).max(max) / high,
            GroupScaleRule::Middle => (-min).max(max) / ((high - low) * 0.5),
            GroupScaleRule::SignedMax => (if -min >= max { min } else { max }) / low,
            GroupScaleRule::NoClipping => (min / low).max(max / high),
            GroupScaleRule::MinMax | GroupScaleRule::Tight => span / (high - low),
        }
    }

    /// The rule's scale and shift for a range, as stored.
    fn of_range(&self, min: f32, max: f32) -> GroupParams {
        let low = self.low as f32;
        let scale = self.stored_scale(self.rule_scale(min, max));
        let shift = match self.scales {
            _ if self.scales.shift() == OffsetKind::None => 0.0,
            ScaleFormat::F32RealZero if scale == 0.0 => 0.0,
            ScaleFormat::F32RealZero => plus_zero(clean(low - min / scale)),
            _ if self.scales.shift() == OffsetKind::Offset => self.stored_offset(clean(min - scale * low)),
            _ if scale == 0.0 => 0.0,
            _ => (self.low + round_saturating(-min / scale, 0, self.high - self.low)) as f32,
        };
        GroupParams::new(scale, shift)
    }

    /// A scale as the format stores it.
    fn stored_scale(&self, scale: f32) -> f32 {
        let scale = plus_zero(scale);
        match self.scales {
            ScaleFormat::F16 | ScaleFormat::F16Zero | ScaleFormat::F16Offset => half(scale),
            // The next power of two, upwards.
            ScaleFormat::E8M0 => {
                let bits = scale.to_bits();
                let exponent = (bits >> 23) + u32::from(bits & 0x7f_ffff != 0);
                f32::from_bits(if bits <= 1 << 22 { 1 << 22 } else { exponent.min(254) << 23 })
            }
            _ => clean(scale),
        }
    }

    fn stored_offset(&self, offset: f32) -> f32 {
        if self.scales == ScaleFormat::F16Offset { half(offset) } else { plus_zero(offset) }
    }

    /// The integer nearest to a number, or the index in a table.
    fn value(&self, x: f32, group: GroupParams) -> i32 {
        // An infinite scale marks a refused group.
        let steps = |x: f32| if group.scale == 0.0 || group.scale.is_infinite() { 0.0 } else { x / group.scale };
        match self.scales {
            ScaleFormat::F32Zero | ScaleFormat::F16Zero => {
                let zero = group.shift as i32;
                round_saturating(steps(x), self.low - zero, self.high - zero) + zero
            }
            ScaleFormat::F32RealZero => round_saturating(steps(x) + group.shift, self.low, self.high),
            ScaleFormat::F32Offset | ScaleFormat::F16Offset => {
                round_saturating(steps(clean(x - group.shift)), self.low, self.high)
            }
            _ => match self.quantizer.format.codes.table() {
                Some(numbers) => nearest(&numbers[..1 << self.quantizer.format.codes.bits()], steps(x)),
                None => round_saturating(steps(x), self.low, self.high),
            },
        }
    }

    /// The value of the code of a number.
    fn integer(&self, x: f32, group: GroupParams) -> f32 {
        let value = self.value(clean(x), group);
        match self.quantizer.format.codes.table() {
            Some(numbers) => numbers[value as usize & 15],
            None => value as f32,
        }
    }

    /// The weighted squared error of a group, in the unit.
    fn error(&self, unit: &Unit<'_>, group: GroupParams) -> f32 {
        let scale = times_power(group.scale, -unit.exponent);
        let offset = times_power(group.shift, -unit.exponent);
        lanes_sum(unit.numbers.len(), |i| {
            let q = self.integer(unit.numbers[i], group);
            let real = match self.scales.shift() {
                OffsetKind::None => q * scale,
                OffsetKind::ZeroPoint => (q - group.shift) * scale,
                OffsetKind::Offset => q * scale + offset,
            };
            let difference = unit.number(i) - real;
            unit.weigh(i, difference * difference)
        })
    }

    /// The scale and shift with the least error for the codes of this group. The group itself, if its numbers can't be chosen
    /// freely; `None` if the codes don't determine a result.
    fn refitted(&self, unit: &Unit<'_>, group: GroupParams) -> Option<GroupParams> {
        if matches!(self.scales, ScaleFormat::E8M0 | ScaleFormat::F32Zero | ScaleFormat::F16Zero) {
            return Some(group);
        }
        let integers: Vec<f32> = unit.numbers.iter().map(|&x| self.integer(x, group)).collect();
        let sum = |term: &dyn Fn(usize) -> f32| lanes_sum(integers.len(), term);
        let wqx = sum(&|i| unit.weigh(i, integers[i]) * unit.number(i));
        let wqq = sum(&|i| unit.weigh(i, integers[i]) * integers[i]);
        let quotient = |a: f32, b: f32| (b != 0.0).then(|| a / b).filter(|q| q.is_finite());
        if self.scales.shift() == OffsetKind::None {
            let scale = quotient(wqx, wqq)?;
            return Some(GroupParams::scale(self.stored_scale(times_power(scale, unit.exponent))));
        }
        let w = sum(&|i| unit.weigh(i, 1.0));
        let wq = sum(&|i| unit.weigh(i, integers[i]));
        let wx = sum(&|i| unit.weigh(i, unit.number(i)));
        let determinant = w * wqq - wq * wq;
        let scale = quotient(w * wqx - wx * wq, determinant)?;
        let offset = quotient(wqq * wx - wq * wqx, determinant)?;
        if self.scales == ScaleFormat::F32RealZero {
            let zero = quotient(offset, scale)?;
            return Some(GroupParams::new(self.stored_scale(times_power(scale, unit.exponent)), plus_zero(-zero)));
        }
        let [scale, offset] = [scale, offset].map(|x| clean(times_power(x, unit.exponent)));
        // Nested offsets have one sign.
        let offset =
            if matches!(self.quantizer.format.scales, ScaleFormat::NestedOffset(_)) { offset.min(0.0) } else { offset };
        Some(GroupParams::new(self.stored_scale(scale), self.stored_offset(offset)))
    }
}

/// Numbers divided by a power of two.
struct Unit<'a> {
    numbers: &'a [f32],
    importance: Option<&'a [f32]>,
    exponent: i32,
}

impl Unit<'_> {
    fn number(&self, i: usize) -> f32 {
        times_power(clean(self.numbers[i]), -self.exponent)
    }

    fn weigh(&self, i: usize, x: f32) -> f32 {
        self.importance.map_or(x, |weights| weights[i] * x)
    }
}

/// The place of the number of a table that is nearest to `x`; of two, that of the greater number.
fn nearest(numbers: &[f32], x: f32) -> i32 {
    let mut places: Vec<usize> = (0..numbers.len()).collect();
    places.sort_by(|&a, &b| numbers[a].partial_cmp(&numbers[b]).unwrap_or(Ordering::Equal));
    places.dedup_by_key(|place| numbers[*place]);
    let above = |pair: &&[usize]| 2.0 * x >= numbers[pair[0]] + numbers[pair[1]];
    places[places.windows(2).take_while(above).count()] as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Codes;

    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(|_| next() + next() + next()).collect()
    }

    fn error(weights: &PackedWeights, numbers: &[f32]) -> f64 {
        let real = weights.dequantize().expect("small");
        real.values::<f32>().expect("floats").iter().zip(numbers).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn rules_are_those_of_the_field() -> Result<()> {
        let int8 = |rule| Quantizer::new(WeightFormat::new(Codes::INT8, usize::MAX, ScaleFormat::F32))?.rule(rule);
        let group = |rule, numbers: &[f32]| -> Result<f32> { Ok(int8(rule)?.group(numbers, None).scale) };
        let x = [-1.0, 0.25, 0.5];
        assert_eq!(group(GroupScaleRule::Narrow, &x)?, 1.0 / 127.0);
        assert_eq!(group(GroupScaleRule::Middle, &x)?, 1.0 / 127.5);
        assert_eq!(group(GroupScaleRule::SignedMax, &x)?, 1.0 / 128.0);
        assert_eq!(group(GroupScaleRule::SignedMax, &x.map(|x| -x))?, -1.0 / 128.0);
        assert_eq!(group(GroupScaleRule::NoClipping, &x)?, 1.0 / 128.0);
        assert_eq!(group(GroupScaleRule::NoClipping, &x.map(|x| -x))?, 1.0 / 127.0);
        let int4 = |scales, x: &[f32]| -> Result<GroupParams> {
            Ok(Quantizer::new(WeightFormat::new(Codes::INT4, usize::MAX, scales))?.group(x, None))
        };
        assert_eq!(int4(ScaleFormat::F32Zero, &[0.0, 30.0])?, GroupParams::new(2.0, -8.0));
        assert_eq!(int4(ScaleFormat::F32Zero, &[-30.0, 0.0])?, GroupParams::new(2.0, 7.0));
        assert_eq!(int4(ScaleFormat::F32Offset, &[3.0, 33.0])?, GroupParams::new(2.0, 19.0));
        assert_eq!(int4(ScaleFormat::E8M0, &[0.0, 7.5])?, GroupParams::scale(2.0));
        assert_eq!(int4(ScaleFormat::E8M0, &[0.0])?, GroupParams::scale(2f32.powi(-127)));
        assert!(int8(GroupScaleRule::MinMax).is_err());
        Ok(())
    }

    #[test]
    fn every_format_holds_what_is_quantized() -> Result<()> {
        let x = numbers(3 * 100);
        let tensor = Tensor::new([3, 100], x.clone())?;
        let energy: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
        let signed = [
            Codes::INT2,
            Codes::INT3,
            Codes::INT4,
            Codes::INT5,
            Codes::INT6,
            Codes::INT8,
            Codes::IQ4_NL,
            Codes::E2M1_DOUBLED,
            Codes::NF4,
        ];
        let unsigned = [Codes::UINT2, Codes::UINT4, Codes::UINT6, Codes::UINT8];
        let scales = [
            ScaleFormat::F32,
            ScaleFormat::F16,
            ScaleFormat::E8M0,
            ScaleFormat::F32Zero,
            ScaleFormat::F16Zero,
            ScaleFormat::F32RealZero,
            ScaleFormat::F32Offset,
            ScaleFormat::F16Offset,
            ScaleFormat::Nested(2),
            ScaleFormat::NestedOffset(3),
        ];
        let mut formats = 0;
        for codes in signed.into_iter().chain(unsigned) {
            for scales in scales {
                let Ok(quantizer) = Quantizer::new(WeightFormat::new(codes, 32, scales)) else { continue };
                formats += 1;
                let rounded = error(&quantizer.quantize(&tensor)?, &x);
                let searched = error(&quantizer.clone().search(Search::default())?.quantize(&tensor)?, &x);
                // A step is 2 · 1.5 / 2^bits, with a uniform error: a twelfth of the squared step. Eight times that for powers of
                // two, coarse codes and tables.
                let most = 8.0 * x.len() as f64 * (3.0 / f64::from(1 << codes.bits())).powi(2) / 12.0;
                assert!(rounded < most.min(energy), "{}: {rounded} of {energy}", quantizer.format());
                // Nesting rounds the scales that the search found.
                let slack = if quantizer.format().scales.nesting().is_some() { 1.1 } else { 1.0001 };
                assert!(searched <= rounded * slack, "{}: searched {searched}, rounded {rounded}", quantizer.format());
            }
        }
        assert!(formats > 60, "{formats} formats");
        Ok(())
    }

    #[test]
    fn importance_decides() -> Result<()> {
        let x = numbers(64);
        let importance: Vec<f32> = (0..64).map(|i| if i % 8 == 0 { 100.0 } else { 0.1 }).collect();
        let tensor = Tensor::new([1, 64], x.clone())?;
        let plain = Quantizer::new(WeightFormat::new(Codes::INT3, 32, ScaleFormat::F16))?.search(Search::default())?;
        let weighted = |weights: &PackedWeights| -> f64 {
            let real = weights.dequantize().expect("small");
            let real = real.values::<f32>().expect("floats");
            (0..64).map(|i| f64::from(importance[i]) * f64::from(real[i] - x[i]).powi(2)).sum()
        };
        let without = weighted(&plain.quantize(&tensor)?);
        let with = weighted(&plain.clone().importance(&importance)?.quantize(&tensor)?);
        assert!(with < without, "{with} with, {without} without");
        assert!(plain.clone().importance(&importance[1..])?.quantize(&tensor).is_err());
        assert!(plain.importance(&[f32::NAN; 64]).is_err());
        Ok(())
    }

    #[test]
    fn extremes_stay_finite() -> Result<()> {
        for scales in [
            ScaleFormat::F32,
            ScaleFormat::F32Offset,
            ScaleFormat::F32Zero,
            ScaleFormat::F32RealZero,
            ScaleFormat::E8M0,
        ] {
            let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 16, scales))?.search(Search::default())?;
            // A range beyond f32 has no scale. With E8M0, the next power of two takes the code of the greatest f32 beyond f32.
            let beyond = quantizer.quantize(&Tensor::new([1, 2], vec![f32::MAX, f32::MIN])?);
            assert_eq!(beyond.is_ok(), scales == ScaleFormat::F32, "{scales:?} of a range beyond f32: {beyond:?}");
            for x in [[1e38, -1e38], [-2e38, 0.0], [1e-45, -1e-45], [0.0, -0.0], [2e38, 1e-45]] {
                let real = quantizer.quantize(&Tensor::new([1, 2], x.to_vec())?)?.dequantize()?;
                assert!(real.values::<f32>()?.iter().all(|x| x.is_finite()), "{scales:?} of {x:?}: {real:?}");
                let zero = x.iter().all(|&x| x == 0.0);
                assert!(!zero || real.values::<f32>()?.iter().all(|&x| x == 0.0), "{scales:?} of zeros: {real:?}");
            }
        }
        let halves = Quantizer::new(WeightFormat::new(Codes::INT4, 16, ScaleFormat::F16))?;
        let refused = halves.quantize(&Tensor::new([1, 1], vec![1e9f32])?).expect_err("no f16 is so large");
        assert!(refused.to_string().contains("row 0"), "{refused}");
        let refused = halves.quantize(&Tensor::new([1, 1], vec![f32::NAN])?).expect_err("not a number");
        assert!(refused.to_string().contains("weight 0 of row 0 is NaN"), "{refused}");
        Ok(())
    }
}
