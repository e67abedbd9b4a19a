//! Quantizes real numbers to GGUF's blocks by a search for the scales of least weighted squared error. `mod` has the layouts.
//!
//! Each group of numbers first gets the scale (and offset) of least error among real numbers: several starts, each refined by
//! least squares for its codes. A block then gets the f16 scale (and minimum), for which each group takes the integers of least
//! error, with codes chosen anew for the scales as they are stored.

use std::sync::Arc;

use half::f16;
use rayon::prelude::*;

use super::{GgufType, half_of_e4m3, half_of_e8m0};
use crate::error::{Result, require};
use crate::weights::Codes;

/// The quantization of real numbers to the blocks of a [`GgufType`], with a search for the scales of least squared error
///
/// ```text
/// Σ w · (x − real(code))²        w = 1, or the importance of the column
/// ```
///
/// The search knows all parts of a block: it chooses the f16 scale of a block, the integer scales and minima of its groups, and
/// the codes by the error of the numbers that readers compute from them. Each code is the nearest one.
///
/// The blocks have the format of the type, so every reader decodes them to equal numbers. Their bytes are not those of ggml's
/// own quantizers, which search less and, without an importance matrix, weigh large numbers more in some types.
/// [`quantize`](super::quantize) has the bytes of ggml's reference for six types.
///
/// ```
/// use lowbit::import::gguf::{self, GgufQuantizer, GgufType};
/// let values: Vec<f32> = (0..512).map(|i| (i as f32 * 0.7).sin() * (1.0 + i as f32 / 99.0)).collect();
/// let error = |blocks: &[u8], kind: GgufType| -> lowbit::Result<f32> {
///     let real = gguf::weights(kind, [1, 2, 256], blocks)?.dequantize()?;
///     Ok(real.values::<f32>()?.iter().zip(&values).map(|(a, b)| (a - b) * (a - b)).sum())
/// };
/// let searched = GgufQuantizer::new(GgufType::Q4_0).quantize(&values)?;
/// assert!(error(&searched, GgufType::Q4_0)? < error(&gguf::quantize(GgufType::Q4_0, &values)?, GgufType::Q4_0)?);
///
/// // Two rows of 256 columns. The mean squares of the columns' activations would be their importance.
/// let importance: Vec<f32> = (0..256).map(|column| if column % 4 == 0 { 9.0 } else { 1.0 }).collect();
/// let blocks = GgufQuantizer::new(GgufType::Q4_K).importance(&importance)?.quantize(&values)?;
/// assert_eq!(blocks.len(), 2 * 144);
/// # Ok::<(), lowbit::Error>(())
/// ```
///
/// Arithmetic is f64 in a fixed order, so equal numbers give equal bytes on every platform. Blocks are shared out among threads.
///
/// Numbers below 2⁻²⁵, half of the least f16, become 0 in all types but MXFP4. Scales of NVFP4 end at 2688 = 6 · 448, and its least
/// number is 2⁻¹⁰: bring the numbers into that range, as its files do by a factor in a tensor beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufQuantizer {
    gguf_type: GgufType,
    importance: Option<Arc<[f64]>>,
}

/// An importance below this part of the greatest counts as this, so that every number has a say.
const LEAST_IMPORTANCE: f64 = 1.0 / (1 << 20) as f64;

impl GgufQuantizer {
    /// A quantizer for which all columns are equally important.
    #[must_use]
    pub const fn new(gguf_type: GgufType) -> Self {
        Self { gguf_type, importance: None }
    }

    /// This quantizer with a weight for the squared error of each column, such as the mean square of the column's activations
    /// (an importance matrix of GGUF tools has their sums). Only ratios count. Less than 2⁻²⁰ of the greatest counts as that.
    ///
    /// # Errors
    /// If a number is negative or not finite, all are zero, or the columns don't fill whole blocks.
    pub fn importance(mut self, of_columns: &[f32]) -> Result<Self> {
        let odd = of_columns.iter().position(|w| !(w.is_finite() && *w >= 0.0));
        require!(
            odd.is_none(),
            "the importance of column {} is {}, but it must be finite and at least 0",
            odd.unwrap_or_default(),
            of_columns[odd.unwrap_or_default()]
        );
        let most = of_columns.iter().copied().fold(0.0f32, f32::max);
        require!(most > 0.0, "the importance of all {} columns is 0: leave it out", of_columns.len());
        let block = self.gguf_type.block();
        require!(
            of_columns.len().is_multiple_of(block),
            "the importance of {} columns was given, but rows of {} are whole blocks of {block}",
            of_columns.len(),
            self.gguf_type
        );
        let relative = |w: &f32| (f64::from(*w) / f64::from(most)).max(LEAST_IMPORTANCE);
        self.importance = Some(of_columns.iter().map(relative).collect());
        Ok(self)
    }

    /// The type of the blocks.
    #[must_use]
    pub const fn gguf_type(&self) -> GgufType {
        self.gguf_type
    }

    /// The blocks of real numbers: rows of whole blocks, one after the other. With an importance, rows have as many numbers as it.
    /// Rows may be quantized in several calls.
    ///
    /// # Errors
    /// If the type [has no quantizer](GgufType::has_quantizer), the numbers don't fill whole blocks, or rows of the importance's length, a number is not finite, or the range of a group
    /// needs a scale or minimum beyond what the type stores (65504, times the greatest integer scale if it has those). MXFP4 clips
    /// instead: its greatest number is 1.5 · 2¹²⁷.
    pub fn quantize(&self, values: &[f32]) -> Result<Vec<u8>> {
        let (size, bytes) = (self.gguf_type.block(), self.gguf_type.block_bytes());
        require!(
            self.gguf_type.has_quantizer(),
            "blocks of {} are read, but not made: take a type with a quantizer, such as Q2_K",
            self.gguf_type
        );
        super::quantize::check(values, size)?;
        let row = self.importance.as_ref().map_or(size, |importance| importance.len());
        require!(
            values.len().is_multiple_of(row),
            "{} numbers are no whole rows of the {row} columns whose importance was given",
            values.len()
        );
        let equal = [1.0; 256];
        let importance = self.importance.as_deref().unwrap_or(&equal[..size]);
        let mut out = vec![0; values.len() / size * bytes];
        let blocks = out.par_chunks_exact_mut(bytes).zip(values.par_chunks_exact(size)).enumerate();
        let refused = blocks.filter_map(|(i, (out, values))| {
            let mut x = [0.0; 256];
            x.iter_mut().zip(values).for_each(|(x, &value)| *x = value.into());
            let held = block(self.gguf_type, &x[..size], &importance[i * size % row..][..size], out);
            (!held).then_some(i)
        });
        let refused = refused.min();
        require!(
            refused.is_none(),
            "the numbers of block {} are too large for the scales of {}: divide them by a constant first",
            refused.unwrap_or_default(),
            self.gguf_type
        );
        Ok(out)
    }
}

/// Quantizes a block; false if it needs a scale or minimum that the type can't hold.
fn block(gguf_type: GgufType, x: &[f64], w: &[f64], out: &mut [u8]) -> bool {
    let bits = gguf_type.format().codes.bits();
    let half = f64::from(1u32 << (bits - 1));
    let signed = Uniform { least: -half, greatest: half - 1.0 };
    let unsigned = Uniform { least: 0.0, greatest: 2.0 * half - 1.0 };
    let table = || Sorted::new(gguf_type.format().codes);
    match gguf_type {
        GgufType::Q4_0 | GgufType::Q5_0 | GgufType::Q8_0 => half_scale(gguf_type, signed, x, w, out),
        GgufType::IQ4_NL => half_scale(gguf_type, table(), x, w, out),
        GgufType::Q4_1 | GgufType::Q5_1 => half_scale_and_offset(gguf_type, unsigned, x, w, out),
        GgufType::MXFP4 => power(gguf_type, table(), x, w, out),
        GgufType::NVFP4 => small_floats(gguf_type, table(), x, w, out),
        GgufType::Q3_K | GgufType::Q6_K => Scaled::of(gguf_type, signed, x, w).write(gguf_type, x, out),
        GgufType::IQ4_XS => Scaled::of(gguf_type, table(), x, w).write(gguf_type, x, out),
        GgufType::Q2_K | GgufType::Q4_K | GgufType::Q5_K => {
            Shifted::of(gguf_type, unsigned, x, w).write(gguf_type, x, out)
        }
        // `quantize` refuses them.
        GgufType::TQ1_0
        | GgufType::TQ2_0
        | GgufType::Q1_0
        | GgufType::IQ2_XXS
        | GgufType::IQ2_XS
        | GgufType::IQ2_S
        | GgufType::IQ3_XXS
        | GgufType::IQ3_S
        | GgufType::IQ1_S
        | GgufType::IQ1_M => false,
    }
}

/// The values of codes.
trait Grid: Copy {
    /// The value nearest to a number.
    fn nearest(self, number: f64) -> f64;
    /// The greatest magnitude of a value.
    fn reach(self) -> f64;
}

/// The integers of a range.
#[derive(Debug, Clone, Copy)]
struct Uniform {
    least: f64,
    greatest: f64,
}

impl Grid for Uniform {
    #[inline(always)]
    fn nearest(self, number: f64) -> f64 {
        // An f64 of this size has no bits for fractions, so the sum is rounded to an integer.
        const INTEGERS: f64 = 1.5 * (1u64 << 52) as f64;
        (number.max(self.least).min(self.greatest) + INTEGERS) - INTEGERS
    }

    fn reach(self) -> f64 {
        self.greatest.max(-self.least)
    }
}

/// The values of a table, in order.
#[derive(Debug, Clone, Copy)]
struct Sorted {
    values: [f64; 16],
}

impl Sorted {
    fn new(codes: Codes) -> Self {
        let mut values = codes.table().unwrap_or_default().map(f64::from);
        values.sort_unstable_by(f64::total_cmp);
        Self { values }
    }
}

impl Grid for Sorted {
    #[inline(always)]
    fn nearest(self, number: f64) -> f64 {
        self.values.windows(2).fold(self.values[0], |nearest, pair| {
            let middle = 0.5 * (pair[0] + pair[1]);
            nearest + if number > middle { pair[1] - pair[0] } else { 0.0 }
        })
    }

    fn reach(self) -> f64 {
        self.values[15].max(-self.values[0])
    }
}

/// Numbers that share a scale, a · q + b, and their weights. There is a multiple of [`LANES`] of them.
#[derive(Debug, Clone, Copy)]
struct Numbers<'a> {
    x: &'a [f64],
    w: &'a [f64],
    /// Σ w
    weight: f64,
    /// Σ w · x
    moment: f64,
    least: f64,
    greatest: f64,
}

/// Sums run in this many lanes, which suits vector units.
const LANES: usize = 4;

/// Sums over numbers for their nearest codes q.
#[derive(Debug, Clone, Copy)]
struct Sums {
    /// Σ w · (x − a · q − b)²
    error: f64,
    /// Σ w · q
    q: f64,
    /// Σ w · q²
    qq: f64,
    /// Σ w · x · q
    xq: f64,
}

/// A scale and an offset with the error of the nearest codes.
#[derive(Debug, Clone, Copy)]
struct Fit {
    a: f64,
    b: f64,
    error: f64,
}

impl Fit {
    /// Takes the other one if its error is less.
    fn improve(&mut self, other: Self) -> bool {
        let better = other.error < self.error;
        if better {
            *self = other;
        }
        better
    }
}

/// The numbers that offsets may be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Offsets {
    Any,
    /// At most 0.
    Down,
    /// At least 0.
    Up,
}

impl Offsets {
    fn bound(self, offset: f64) -> f64 {
        match self {
            Self::Any => offset,
            Self::Down => offset.min(0.0),
            Self::Up => offset.max(0.0),
        }
    }
}

/// Most steps of a refinement, each of which has less error than the one before.
const STEPS: usize = 12;

impl<'a> Numbers<'a> {
    fn new(x: &'a [f64], w: &'a [f64]) -> Self {
        let (weight, moment) = (w.iter().sum(), x.iter().zip(w).map(|(x, w)| x * w).sum());
        let least = x.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { x, w, weight, moment, least, greatest }
    }

    /// The greatest magnitude.
    fn extent(&self) -> f64 {
        self.greatest.max(-self.least)
    }

    /// The sums for a · q + b. With a = 0, q is the value nearest to 0.
    fn sums(&self, grid: impl Grid, a: f64, b: f64) -> Sums {
        let inverse = if a == 0.0 { 0.0 } else { 1.0 / a };
        let [mut error, mut q, mut qq, mut xq] = [[0.0; LANES]; 4];
        for (x, w) in self.x.chunks_exact(LANES).zip(self.w.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let code = grid.nearest((x[lane] - b) * inverse);
                let rest = x[lane] - b - a * code;
                let weighted = w[lane] * code;
                error[lane] += w[lane] * rest * rest;
                q[lane] += weighted;
                qq[lane] += weighted * code;
                xq[lane] += weighted * x[lane];
            }
        }
        let total = |lanes: [f64; LANES]| lanes.into_iter().sum();
        Sums { error: total(error), q: total(q), qq: total(qq), xq: total(xq) }
    }

    /// The error of the nearest codes.
    fn error(&self, grid: impl Grid, a: f64, b: f64) -> f64 {
        let inverse = if a == 0.0 { 0.0 } else { 1.0 / a };
        let mut error = [0.0; LANES];
        for (x, w) in self.x.chunks_exact(LANES).zip(self.w.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let rest = x[lane] - b - a * grid.nearest((x[lane] - b) * inverse);
                error[lane] += w[lane] * rest * rest;
            }
        }
        error.into_iter().sum()
    }

    fn fit(&self, grid: impl Grid, a: f64, b: f64) -> Fit {
        Fit { a, b, error: self.error(grid, a, b) }
    }

    /// Scale and offset of least error for codes with these sums, or the given ones if the codes don't decide.
    fn solve(&self, sums: Sums, offsets: Offsets, a: f64, b: f64) -> (f64, f64) {
        let alone = || if sums.qq > 0.0 { (sums.xq / sums.qq, 0.0) } else { (a, b) };
        let determinant = self.weight * sums.qq - sums.q * sums.q;
        // Equal codes make it 0, but for rounding.
        if determinant <= self.weight * sums.qq * 1e-12 {
            return (a, b);
        }
        let scale = (self.weight * sums.xq - sums.q * self.moment) / determinant;
        let offset = (self.moment - scale * sums.q) / self.weight;
        if offsets.bound(offset) == offset { (scale, offset) } else { alone() }
    }

    /// Refines a scale (without `offsets`) or a scale and an offset as long as the error falls.
    fn refine(&self, grid: impl Grid, offsets: Option<Offsets>, mut a: f64, mut b: f64, steps: usize) -> Fit {
        let mut best = Fit { a, b, error: f64::INFINITY };
        for _ in 0..=steps {
            let sums = self.sums(grid, a, b);
            if !best.improve(Fit { a, b, error: sums.error }) {
                break;
            }
            (a, b) = match offsets {
                None if sums.qq > 0.0 => (sums.xq / sums.qq, 0.0),
                None => (a, b),
                Some(offsets) => self.solve(sums, offsets, a, b),
            };
        }
        best
    }

    /// The scale of least error that was found, alone. It may be negative.
    fn best_scale(&self, grid: impl Grid, bits: usize) -> Fit {
        let (extent, half) = (self.extent(), f64::from(1u32 << (bits - 1)));
        let zero = self.fit(grid, 0.0, 0.0);
        let mut best = zero;
        for sign in [1.0, -1.0] {
            let mut start = zero;
            // The extreme number would have a code up to 1.2 steps within the range, or up to 4 steps beyond it.
            for beyond in (0..40).map(|i| -1.2 + 0.13 * f64::from(i)) {
                let a = sign * extent / (grid.reach() * (1.0 + (beyond / half).max(-0.9)));
                start.improve(self.fit(grid, a, 0.0));
            }
            best.improve(self.refine(grid, None, start.a, 0.0, STEPS));
        }
        best
    }

    /// The positive scale and the offset of least error that were found.
    fn best_scale_and_offset(&self, grid: Uniform, offsets: Offsets) -> Fit {
        let (least, greatest) = (offsets.bound(self.least), self.greatest);
        let mut best = self.fit(grid, 0.0, offsets.bound(self.moment / self.weight));
        // Each end of the range lies within the numbers by up to 1.2 steps, or beyond them by a quarter.
        const ENDS: [f64; 5] = [-0.25, 0.05, 0.4, 0.8, 1.2];
        for low in ENDS {
            for high in ENDS {
                let a = (greatest - least) / (grid.greatest + low + high);
                if a > 0.0 {
                    let refined = self.refine(grid, Some(offsets), a, offsets.bound(least + low * a), 1);
                    if refined.a > 0.0 {
                        best.improve(refined);
                    }
                }
            }
        }
        let refined = self.refine(grid, Some(offsets), best.a, best.b, STEPS);
        if refined.a > 0.0 {
            best.improve(refined);
        }
        best
    }
}

/// The greatest f16.
const MOST: f64 = 65504.0;

/// The nearest f16 that is finite, and not 0 unless the number is.
fn to_half(number: f64) -> f64 {
    let half = f16::from_f64(number.clamp(-MOST, MOST));
    if half.to_f64() == 0.0 && number != 0.0 {
        return f16::from_bits(1).to_f64().copysign(number);
    }
    half.to_f64()
}

/// The nearest f16 and its neighbours, without those that are infinite or of another sign.
fn halves_around(number: f64) -> impl Iterator<Item = f64> {
    let nearest = f16::from_f64(to_half(number)).to_bits();
    let (sign, magnitude) = (nearest & 0x8000, nearest & 0x7fff);
    let around = [Some(magnitude), magnitude.checked_sub(1), Some(magnitude + 1)];
    around.into_iter().flatten().filter(|&bits| bits < 0x7c00).map(move |bits| f16::from_bits(sign | bits).to_f64())
}

fn put_half(out: &mut [u8], value: f64) {
    out[..2].copy_from_slice(&f16::from_f64(value).to_le_bytes());
}

/// Writes the codes of numbers; `scaled` gives the scale and the offset of a group.
fn put_codes(gguf_type: GgufType, grid: impl Grid, x: &[f64], out: &mut [u8], scaled: impl Fn(usize) -> (f64, f64)) {
    let mut codes = [0; 256];
    let size = gguf_type.format().group;
    for (g, (x, codes)) in x.chunks(size).zip(codes.chunks_mut(size)).enumerate() {
        let (a, b) = scaled(g);
        for (x, code) in x.iter().zip(codes) {
            *code = grid.nearest(if a == 0.0 { 0.0 } else { (x - b) / a }) as i32;
        }
    }
    gguf_type.write_codes(&codes[..x.len()], out);
}

/// Blocks with an f16 scale.
fn half_scale(gguf_type: GgufType, grid: impl Grid, x: &[f64], w: &[f64], out: &mut [u8]) -> bool {
    let numbers = Numbers::new(x, w);
    let real = numbers.best_scale(grid, gguf_type.format().codes.bits());
    let mut best = numbers.fit(grid, 0.0, 0.0);
    let mut around = real.a;
    for _ in 0..STEPS {
        let tried = halves_around(around).map(|a| numbers.fit(grid, a, 0.0));
        if tried.filter(|&fit| best.improve(fit)).count() > 0 {
            let sums = numbers.sums(grid, best.a, 0.0);
            around = if sums.qq > 0.0 { sums.xq / sums.qq } else { best.a };
        }
    }
    put_half(out, best.a);
    put_codes(gguf_type, grid, x, out, |_| (best.a, 0.0));
    numbers.extent() <= MOST * grid.reach()
}

/// Blocks with an f16 scale and an f16 offset.
fn half_scale_and_offset(gguf_type: GgufType, grid: Uniform, x: &[f64], w: &[f64], out: &mut [u8]) -> bool {
    let numbers = Numbers::new(x, w);
    let real = numbers.best_scale_and_offset(grid, Offsets::Any);
    let mut best = Fit { error: f64::INFINITY, ..real };
    for a in halves_around(real.a) {
        let sums = numbers.sums(grid, a, real.b);
        for b in halves_around((numbers.moment - a * sums.q) / numbers.weight) {
            best.improve(numbers.fit(grid, a, b));
        }
    }
    put_half(out, best.a);
    put_half(&mut out[2..], best.b);
    put_codes(gguf_type, grid, x, out, |_| (best.a, best.b));
    numbers.greatest - numbers.least <= MOST * grid.greatest && numbers.extent() <= MOST
}

/// Blocks with a power of two as their scale.
fn power(gguf_type: GgufType, grid: impl Grid, x: &[f64], w: &[f64], out: &mut [u8]) -> bool {
    let numbers = Numbers::new(x, w);
    let scale = |e: u8| f64::from(half_of_e8m0(e));
    // The first scale that clips nothing. A greater one than that of 252 makes numbers that are infinite in f32.
    let whole = (0..252).find(|&e| scale(e) * grid.reach() >= numbers.extent()).unwrap_or(252);
    let tried = (whole.saturating_sub(2)..=whole).map(|e| (numbers.error(grid, scale(e), 0.0), e));
    let (_, e) = tried.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default();
    out[0] = e;
    put_codes(gguf_type, grid, x, out, |_| (scale(e), 0.0));
    true
}

/// Blocks with an E4M3 scale for each group.
fn small_floats(gguf_type: GgufType, grid: impl Grid, x: &[f64], w: &[f64], out: &mut [u8]) -> bool {
    const GREATEST: u8 = 0x7e;
    let (group, mut held) = (gguf_type.format().group, true);
    let scale = |e: u8| f64::from(half_of_e4m3(e));
    let mut scales = [0; 4];
    for ((x, w), chosen) in x.chunks(group).zip(w.chunks(group)).zip(&mut scales) {
        let numbers = Numbers::new(x, w);
        let real = numbers.best_scale(grid, gguf_type.format().codes.bits()).a.abs();
        let above = (0..GREATEST).find(|&e| scale(e) >= real).unwrap_or(GREATEST);
        let tried = (above.saturating_sub(2)..=(above + 1).min(GREATEST))
            .map(|e| (numbers.error(grid, scale(e), 0.0), e))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        *chosen = tried.unwrap_or_default().1;
        held &= numbers.extent() <= scale(GREATEST) * grid.reach();
    }
    out[..4].copy_from_slice(&scales);
    put_codes(gguf_type, grid, x, out, |g| (scale(scales[g]), 0.0));
    held
}

/// A block whose groups have integer scales s: d · s · q. Groups beyond its number have 0.
#[derive(Debug, Clone, Copy)]
struct Scaled<G> {
    grid: G,
    error: f64,
    d: f64,
    s: [i32; 16],
    held: bool,
}

impl<G: Grid> Scaled<G> {
    fn of(gguf_type: GgufType, grid: G, x: &[f64], w: &[f64]) -> Self {
        let (size, bits) = (gguf_type.format().group, gguf_type.format().codes.bits());
        // The integer scales, and how far around the real scale all of them are tried at the end.
        let (least, greatest, reach) = match gguf_type {
            GgufType::Q6_K => (-128, 127, 16),
            GgufType::Q3_K => (-32, 31, 64),
            _ => (-32, 31, 3),
        };
        let groups: Vec<Numbers<'_>> = x.chunks(size).zip(w.chunks(size)).map(|(x, w)| Numbers::new(x, w)).collect();
        let mut scales = [0.0; 16];
        scales.iter_mut().zip(&groups).for_each(|(a, numbers)| *a = numbers.best_scale(grid, bits).a);
        let top = scales.iter().fold(0.0f64, |top, &a| if a.abs() > top.abs() { a } else { top });
        let held = groups.iter().all(|numbers| numbers.extent() <= MOST * f64::from(-least) * grid.reach());
        let zero = Self { grid, error: f64::INFINITY, d: 0.0, s: [0; 16], held };
        let mut best = zero.choose(&groups, &scales, 0.0, [least, greatest], 0);
        if top == 0.0 {
            return best;
        }
        let mut improve = |d: f64, scales: &[f64; 16], reach: i32| {
            let tried = best.choose(&groups, scales, d, [least, greatest], reach);
            if tried.error < best.error {
                best = tried;
            }
            best
        };
        // The greatest scale becomes the least integer, or lies a little beyond or within.
        let mut found = zero;
        for part in [1.0, 0.97, 0.94, 0.91, 1.03] {
            found = improve(to_half(top / (f64::from(least) * part)), &scales, 1);
        }
        for reach in [1, reach, 1] {
            for _ in 0..STEPS {
                let before = found.error;
                let around = found.s.map(|s| f64::from(s) * found.d);
                for d in halves_around(found.solve(&groups)).take(if reach == 1 { 3 } else { 1 }) {
                    found = improve(d, &around, reach);
                }
                if found.error >= before || reach > 1 {
                    break;
                }
            }
        }
        found
    }

    /// The block with this d, and for each group the integer of least error up to `reach` from a / d or from −a / d.
    fn choose(
        &self,
        groups: &[Numbers<'_>],
        scales: &[f64; 16],
        d: f64,
        [least, greatest]: [i32; 2],
        reach: i32,
    ) -> Self {
        let mut block = Self { d, error: 0.0, s: [0; 16], ..*self };
        for (g, numbers) in groups.iter().enumerate() {
            let centre =
                if d == 0.0 { 0.0 } else { (scales[g] / d).round().clamp(least.into(), greatest.into()) } as i32;
            let near = centre - reach..=centre + reach;
            // The other sign is worth a look where more is tried.
            let far = if (2..=least.abs()).contains(&reach) { -centre - reach..=-centre + reach } else { 0..=0 };
            let tried = near.chain(far).filter(|s| (least..=greatest).contains(s));
            let errors = tried.map(|s| (numbers.error(self.grid, d * f64::from(s), 0.0), s));
            let (error, s) = errors.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0));
            (block.s[g], block.error) = (s, block.error + error);
            if block.error >= self.error {
                return Self { error: f64::INFINITY, ..block };
            }
        }
        block
    }

    /// The real d of least error for these integers and their codes.
    fn solve(&self, groups: &[Numbers<'_>]) -> f64 {
        let (mut moment, mut square) = (0.0, 0.0);
        for (numbers, &s) in groups.iter().zip(&self.s) {
            let s = f64::from(s);
            let sums = numbers.sums(self.grid, self.d * s, 0.0);
            (moment, square) = (moment + s * sums.xq, square + s * s * sums.qq);
        }
        if square > 0.0 { moment / square } else { self.d }
    }

    fn write(&self, gguf_type: GgufType, x: &[f64], out: &mut [u8]) -> bool {
        put_codes(gguf_type, self.grid, x, out, |g| (self.d * f64::from(self.s[g]), 0.0));
        let bits = self.s.map(|s| (s + 32) as u8);
        match gguf_type {
            GgufType::Q6_K => {
                out[192..208].iter_mut().zip(self.s).for_each(|(byte, s)| *byte = s as i8 as u8);
                put_half(&mut out[208..], self.d);
            }
            GgufType::Q3_K => {
                for i in 0..8 {
                    out[96 + i] = bits[i] & 15 | bits[i + 8] << 4;
                }
                for i in 0..4 {
                    out[104 + i] = (0..4).fold(0, |byte, j| byte | (bits[i + 4 * j] >> 4) << (2 * j));
                }
                put_half(&mut out[108..], self.d);
            }
            _ => {
                let high = (0..8).fold(0u16, |word, i| word | u16::from(bits[i] >> 4) << (2 * i));
                out[2..4].copy_from_slice(&high.to_le_bytes());
                for i in 0..4 {
                    out[4 + i] = bits[2 * i] & 15 | bits[2 * i + 1] << 4;
                }
                put_half(out, self.d);
            }
        }
        self.held
    }
}

/// A block whose groups have integer scales s and minima t: d · s · q − m · t. Groups beyond its number have 0.
#[derive(Debug, Clone, Copy)]
struct Shifted {
    grid: Uniform,
    /// The greatest s and t.
    top: f64,
    error: f64,
    d: f64,
    m: f64,
    s: [f64; 16],
    t: [f64; 16],
    held: bool,
}

impl Shifted {
    fn of(gguf_type: GgufType, grid: Uniform, x: &[f64], w: &[f64]) -> Self {
        let size = gguf_type.format().group;
        let top = if gguf_type == GgufType::Q2_K { 15.0 } else { 63.0 };
        let groups: Vec<Numbers<'_>> = x.chunks(size).zip(w.chunks(size)).map(|(x, w)| Numbers::new(x, w)).collect();
        let down = Self::with_offsets(Offsets::Down, grid, top, &groups);
        // Offsets above 0 need a negative m.
        if groups.iter().all(|numbers| numbers.least <= 0.0) {
            return down;
        }
        let up = Self::with_offsets(Offsets::Up, grid, top, &groups);
        if (!down.held && up.held) || (down.held == up.held && up.error < down.error) { up } else { down }
    }

    fn with_offsets(offsets: Offsets, grid: Uniform, top: f64, groups: &[Numbers<'_>]) -> Self {
        let held = groups.iter().all(|numbers| {
            let least = offsets.bound(numbers.least);
            numbers.greatest.max(least) - least <= MOST * top * grid.greatest && least.abs() <= MOST * top
        });
        let mut fits = [Fit { a: 0.0, b: 0.0, error: 0.0 }; 16];
        fits.iter_mut().zip(groups).for_each(|(fit, numbers)| *fit = numbers.best_scale_and_offset(grid, offsets));
        let greatest =
            |of: fn(&Fit) -> f64| fits.iter().map(of).fold(0.0f64, |top, v| if v.abs() > top.abs() { v } else { top });
        let (scale, offset) = (greatest(|fit| fit.a), greatest(|fit| fit.b));
        let none = Self { grid, top, error: f64::INFINITY, d: 0.0, m: 0.0, s: [0.0; 16], t: [0.0; 16], held };
        let mut best = none.choose(groups, &fits, 0.0, to_half(-offset / top), 0.0);
        let mut improve = |d: f64, m: f64, fits: &[Fit; 16], reach: f64| {
            let tried = best.choose(groups, fits, d, m, reach);
            if tried.error < best.error {
                best = tried;
            }
            best
        };
        // The greatest scale and the greatest minimum become the greatest integers, or lie a little beyond or within.
        let parts: &[f64] =
            if top < 16.0 { &[1.0, 0.97, 0.93, 0.9, 0.87, 0.83, 0.77, 0.7, 1.06] } else { &[1.0, 0.98, 1.02] };
        let mut found = none;
        for part in parts {
            found = improve(to_half(scale / (top * part)), to_half(-offset / top), &fits, 1.0);
        }
        for part in &parts[1..] {
            found = improve(found.d, to_half(-offset / (top * part)), &fits, 1.0);
        }
        for reach in [1.0, if top < 16.0 { 15.0 } else { 6.0 }, 1.0] {
            for _ in 0..STEPS {
                let before = found.error;
                let around =
                    std::array::from_fn(|g| Fit { a: found.d * found.s[g], b: -found.m * found.t[g], error: 0.0 });
                let (d, m) = found.solve(groups);
                found = improve(to_half(d), to_half(m), &around, reach);
                if found.error >= before || reach > 1.0 {
                    break;
                }
            }
        }
        found
    }

    /// The block with this d and m, and for each group the integers of least error: s up to `reach` from the scale, t beside the
    /// best offset for that scale.
    fn choose(&self, groups: &[Numbers<'_>], fits: &[Fit; 16], d: f64, m: f64, reach: f64) -> Self {
        let mut block = Self { d, m, error: 0.0, s: [0.0; 16], t: [0.0; 16], ..*self };
        for (g, numbers) in groups.iter().enumerate() {
            let centre = if d == 0.0 { 0.0 } else { (fits[g].a / d).round().min(self.top) };
            let (mut s, last) = ((centre - reach).max(0.0), (centre + reach).min(self.top));
            let mut least = f64::INFINITY;
            while s <= last {
                let a = d * s;
                let sums = numbers.sums(self.grid, a, fits[g].b);
                let offset = (numbers.moment - a * sums.q) / numbers.weight;
                let t = if m == 0.0 { 0.0 } else { (-offset / m).floor().clamp(0.0, self.top) };
                for t in [t, (t + 1.0).min(self.top)] {
                    let error = numbers.error(self.grid, a, -m * t);
                    if error < least {
                        (least, block.s[g], block.t[g]) = (error, s, t);
                    }
                }
                s += 1.0;
            }
            block.error += least;
            if block.error >= self.error {
                return Self { error: f64::INFINITY, ..block };
            }
        }
        block
    }

    /// The real d and m of least error for these integers and their codes.
    fn solve(&self, groups: &[Numbers<'_>]) -> (f64, f64) {
        let (mut ss, mut st, mut tt, mut xs, mut xt) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (g, numbers) in groups.iter().enumerate() {
            let (s, t) = (self.s[g], -self.t[g]);
            let sums = numbers.sums(self.grid, self.d * s, self.m * t);
            ss += s * s * sums.qq;
            st += s * t * sums.q;
            tt += t * t * numbers.weight;
            xs += s * sums.xq;
            xt += t * numbers.moment;
        }
        let determinant = ss * tt - st * st;
        if determinant > ss * tt * 1e-12 {
            ((tt * xs - st * xt) / determinant, (ss * xt - st * xs) / determinant)
        } else if ss > 0.0 {
            ((xs - self.m * st) / ss, self.m)
        } else {
            (self.d, if tt > 0.0 { xt / tt } else { self.m })
        }
    }

    fn write(&self, gguf_type: GgufType, x: &[f64], out: &mut [u8]) -> bool {
        put_codes(gguf_type, self.grid, x, out, |g| (self.d * self.s[g], -self.m * self.t[g]));
        let (s, t) = (self.s.map(|s| s as u8), self.t.map(|t| t as u8));
        if gguf_type == GgufType::Q2_K {
            out[..16].iter_mut().enumerate().for_each(|(g, byte)| *byte = s[g] | t[g] << 4);
            put_half(&mut out[80..], self.d);
            put_half(&mut out[82..], self.m);
            return self.held;
        }
        put_half(out, self.d);
        put_half(&mut out[2..], self.m);
        for g in 0..4 {
            out[4 + g] = s[g] | (s[g + 4] >> 4) << 6;
            out[8 + g] = t[g] | (t[g + 4] >> 4) << 6;
            out[12 + g] = s[g + 4] & 15 | t[g + 4] << 4;
        }
        self.held
    }
}
