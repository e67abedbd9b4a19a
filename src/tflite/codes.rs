//! Functions of one 8-bit code as TFLite's reference kernels compute them: bounds of fused activations, rescaled ReLUs, functions
//! by table, and the hard swish in 16 bits. `convert` makes tables of them.

use crate::error::{Result, refuse, require};
use crate::numeric::{DType, Multiplier, Rounding};
use crate::ops::code_of;

/// The scale and zero point of codes, and their least and greatest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes {
    pub scale: f32,
    pub zero_point: i32,
    pub low: i32,
    pub high: i32,
}

/// The rounding of sums in the reference kernels.
pub(super) const ROUNDING: Rounding = Rounding::FixedDouble;

impl Codes {
    pub(super) fn new(dtype: DType, scale: f32, zero_point: i32) -> Self {
        let (low, high) = dtype.range().unwrap_or((i32::MIN, i32::MAX));
        Self { scale, zero_point, low, high }
    }

    /// The code nearest to a real number, halves away from zero, before it is clamped.
    fn nearest(self, real: f32) -> i32 {
        self.zero_point.saturating_add((real / self.scale).round() as i32)
    }

    /// The codes of the real numbers from `low` to `high`.
    pub(super) fn between(self, low: f32, high: f32) -> (i32, i32) {
        let bound = |real: f32| match real {
            f32::NEG_INFINITY => self.low,
            f32::INFINITY => self.high,
            real => self.nearest(real).clamp(self.low, self.high),
        };
        (bound(low), bound(high))
    }
}

/// The real numbers that an activation leaves, by its number in the schema.
pub(super) fn activation(number: i8) -> Result<(f32, f32)> {
    Ok(match number {
        0 => (f32::NEG_INFINITY, f32::INFINITY),
        1 => (0.0, f32::INFINITY),
        2 => (-1.0, 1.0),
        3 => (0.0, 6.0),
        number => refuse!("its fused activation has number {number}, but NONE, RELU, RELU_N1_TO_1 and RELU6 are read"),
    })
}

/// The multiplier with which [`Rounding::FixedSingle`] gives `acc · real` rounded halves away from zero, as FULLY_CONNECTED
/// computes it in f64, for all sums of 32 bits. It is one of the three nearest to `real`; the nearest if all of them differ
/// somewhere, or if the codes have 16 bits: then sums within 2⁻³¹ of the middle between two codes, relative to their size, may
/// become the other one.
pub(super) fn whole_product(real: f64, (low, high): (i32, i32), zero_point: i32) -> Result<Multiplier> {
    let nearest = Multiplier::of(real)?;
    let (word, shift) = nearest.words();
    let clamped = |steps: i64| (steps + i64::from(zero_point)).clamp(low.into(), high.into());
    // Both functions never fall, so that they are equal if they are where the code changes.
    let agrees = |multiplier: Multiplier| {
        let changes = (low - zero_point..high - zero_point).map(|steps| ((f64::from(steps) + 0.5) / real).floor());
        changes.flat_map(|at| (-1..=2).map(move |more| at + f64::from(more))).all(|sum| {
            let is_sum = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&sum);
            let fixed = Rounding::FixedSingle.rescale(sum as i64, multiplier);
            !is_sum || clamped((sum * real).round() as i64) == clamped(fixed.into())
        })
    };
    if high - low > 255 {
        return Ok(nearest);
    }
    let around = [0, 1, -1].map(|more| Multiplier::fixed((word as i32).saturating_add(more), shift));
    Ok(around.into_iter().flatten().find(|&multiplier| agrees(multiplier)).unwrap_or(nearest))
}

/// The bytes of `function` of all codes of a type, in the order of [`Table::from_bytes`](crate::ops::Table::from_bytes).
pub(super) fn table(input: DType, function: impl Fn(i32) -> i32) -> [u8; 256] {
    std::array::from_fn(|byte| function(code_of(input, byte as u8)) as u8)
}

/// `f` of real numbers: the tables of LOGISTIC and TANH. Codes become f32 by one product, and numbers become codes by a
/// product with the reciprocal of the scale, halves away from zero.
pub(super) fn by_function(input: Codes, output: Codes, f: impl Fn(f32) -> f32) -> impl Fn(i32) -> i32 {
    let inverse = 1.0 / output.scale;
    move |code| {
        let real = input.scale * (code - input.zero_point) as f32;
        let steps = (f(real) * inverse).round();
        ((steps + output.zero_point as f32) as i32).clamp(output.low, output.high)
    }
}

/// `1 / (1 + e^-x)`, each step rounded to f32.
pub(super) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The f32 nearest to `e^x`.
fn exp(x: f32) -> f32 {
    f64::from(x).exp() as f32
}

/// The f32 nearest to the hyperbolic tangent.
pub(super) fn tanh(x: f32) -> f32 {
    f64::from(x).tanh() as f32
}

/// `x` rescaled and clamped: RELU, RELU6 and RELU_N1_TO_1 of codes.
pub(super) fn clamped(input: Codes, output: Codes, (low, high): (f32, f32)) -> Result<impl Fn(i32) -> i32> {
    let multiplier = Multiplier::of((input.scale / output.scale).into())?;
    let (low, high) = output.between(low, high);
    Ok(move |code: i32| {
        let steps = ROUNDING.rescale(code - input.zero_point, multiplier);
        (i64::from(steps) + i64::from(output.zero_point)).clamp(low.into(), high.max(low).into()) as i32
    })
}

/// `x` where it is positive, else `alpha · x`.
pub(super) fn leaky_relu(input: Codes, output: Codes, alpha: f32) -> Result<impl Fn(i32) -> i32> {
    let identity = Multiplier::of((input.scale / output.scale).into())?;
    let slope = input.scale * alpha / output.scale;
    require!(slope >= 0.0, "its alpha is {alpha}, but it must not be negative");
    let slope = if slope == 0.0 { Multiplier::fixed(0, 0)? } else { Multiplier::of(slope.into())? };
    Ok(move |code: i32| {
        let steps = code - input.zero_point;
        let steps = ROUNDING.rescale(steps, if steps >= 0 { identity } else { slope });
        (i64::from(steps) + i64::from(output.zero_point)).clamp(output.low.into(), output.high.into()) as i32
    })
}

/// The product of two numbers of 16 bits, doubled, its upper 16 bits rounded to nearest.
fn rounded_product(a: i16, b: i16) -> i16 {
    if (a, b) == (i16::MIN, i16::MIN) {
        return i16::MAX;
    }
    let product = i32::from(a) * i32::from(b);
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    ((product + nudge) / (1 << 15)) as i16
}

/// That product rounded towards zero.
fn cut_product(a: i16, b: i16) -> i16 {
    if (a, b) == (i16::MIN, i16::MIN) { i16::MAX } else { (i32::from(a) * i32::from(b) / (1 << 15)) as i16 }
}

/// `x · 2^exponent`, saturated.
fn shifted_left(x: i16, exponent: u32) -> i16 {
    (i64::from(x) << exponent.min(31)).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// `x / 2^exponent`, halves away from zero.
fn shifted_right(x: i16, exponent: u32) -> i16 {
    let exponent = exponent.min(31);
    let (x, mask) = (i64::from(x), (1i64 << exponent) - 1);
    let threshold = (mask >> 1) + i64::from(x < 0);
    ((x >> exponent) + i64::from((x & mask) > threshold)) as i16
}

/// The hard swish `x · clamp(x + 3, 0, 6) / 6`, in 16 bits.
pub(super) fn hard_swish(input: Codes, output: Codes) -> Result<impl Fn(i32) -> i32> {
    // Codes are read in steps of 1/128.
    let fine = (1.0f32 / 128.0) * input.scale;
    let in_16_bits = |real: f32| -> Result<(i16, i32)> {
        let (word, shift) = Multiplier::of(real.into())?.words();
        let word = (i64::from(word) + (1 << 15)) >> 16;
        Ok((word.min(i16::MAX.into()) as i16, shift))
    };
    let (scale, exponent) = in_16_bits(fine / output.scale)?;
    let (slope, slope_exponent) = in_16_bits(fine / (3.0 / 32768.0))?;
    require!(exponent <= 0, "its input's scale is 128 times its output's or more, which the reference kernel refuses");
    Ok(move |code: i32| {
        let fine = ((code - input.zero_point) * 128).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        let scaled = rounded_product(fine, scale);
        // x from -3 to 3 becomes -2^15 to 2^15, saturated.
        let mut part = fine;
        if slope_exponent > 0 {
            part = shifted_left(part, slope_exponent as u32 - 1);
        }
        part = rounded_product(part, slope);
        if slope_exponent > 0 {
            part = shifted_left(part, 1);
        }
        if slope_exponent < 0 {
            part = shifted_right(part, slope_exponent.unsigned_abs());
        }
        let share = ((i32::from(part) + (1 << 15)) >> 1) as i16;
        let steps = shifted_right(cut_product(share, scaled), exponent.unsigned_abs());
        (i32::from(steps) + output.zero_point).clamp(output.low, output.high)
    })
}
