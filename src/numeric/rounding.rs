//! Requantization of one accumulator: the four common rounding modes, which occasionally differ by one step. The shaders' versions
//! are `shaders/epilogue/rounding_*.wgsl`.

use crate::error::{Result, require};

/// The rounding of an accumulator times a real multiplier to an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rounding {
    /// `round_ties_even(f32(acc) · m)`, every step rounded to f32, as in ONNX Runtime's CPU kernels of matrix products and
    /// convolutions.
    #[default]
    Onnx,
    /// `(acc · q + 2^(30 − shift)) >> (31 − shift)` in 64 bits, where `m = q · 2^(shift − 31)`: TFLite's single rounding.
    FixedSingle,
    /// Rounding doubling high multiply, then rounding division by a power of two, each half away from zero, as in gemmlowp and
    /// TFLite's reference kernels (double rounding).
    FixedDouble,
    /// `(acc · r + 2^(14 − shift)) >> (15 − shift)` in 64 bits, where `r = min((q + 2¹⁵) >> 16, 2¹⁵ − 1)` is the multiplier in 15
    /// bits, as in TFLite's kernels for int16 activations, whose accumulators have 64 bits.
    FixedWide,
}

/// A real multiplier in the form of its [`Rounding`] mode: f32 bits for [`Rounding::Onnx`]; for the fixed-point modes an integer
/// `q` in `0..=2³¹ − 1` with a shift, which is `q · 2^(shift − 31)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Multiplier {
    word: u32,
    shift: i32,
    fixed: bool,
}

impl Multiplier {
    /// The multiplier of the [`Rounding::Onnx`] mode.
    ///
    /// # Errors
    /// If the multiplier isn't finite and positive.
    pub fn float(multiplier: f32) -> Result<Self> {
        require!(
            multiplier.is_finite() && multiplier > 0.0,
            "the requantization multiplier is {multiplier:e}, but it must be finite and positive: check the scales it is made of"
        );
        Ok(Self { word: multiplier.to_bits(), shift: 0, fixed: false })
    }

    /// The multiplier of the fixed-point modes, in TFLite's form.
    ///
    /// # Errors
    /// If `quantized` is negative or `shift` is outside `-31..=30`.
    ///
    /// ```
    /// use lowbit::{Multiplier, Rounding};
    /// let half = Multiplier::fixed(1 << 30, 0)?;
    /// assert_eq!(Rounding::FixedDouble.rescale(5, half), 3);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn fixed(quantized: i32, shift: i32) -> Result<Self> {
        require!(quantized >= 0, "the quantized multiplier is {quantized}, but it must be 0 to 2147483647");
        require!((-31..=30).contains(&shift), "the multiplier's shift is {shift}, but it must be -31 to 30");
        Ok(Self { word: quantized as u32, shift, fixed: true })
    }

    /// The multiplier for `rounding`, from scales: `(lhs · rhs) / output`, in f32 from left to right for [`Rounding::Onnx`], in f64
    /// for the fixed-point modes (TFLite's `QuantizeMultiplier`: 31 bits, half away from zero).
    ///
    /// # Errors
    /// If the result isn't finite and positive, or is 2³⁰ or more in a fixed-point mode.
    pub fn from_scales(rounding: Rounding, lhs: f32, rhs: f32, output: f32) -> Result<Self> {
        match rounding {
            Rounding::Onnx => Self::float(lhs * rhs / output),
            Rounding::FixedSingle | Rounding::FixedDouble | Rounding::FixedWide => {
                Self::of(f64::from(lhs) * f64::from(rhs) / f64::from(output))
            }
        }
    }

    /// The fixed-point multiplier of a real number, TFLite's `QuantizeMultiplier`: the nearest `q · 2^(shift − 31)` with `q` in
    /// `2³⁰..2³¹`; 0 for numbers below 2⁻³².
    ///
    /// ```
    /// use lowbit::{Multiplier, Rounding};
    /// assert_eq!(Multiplier::of(0.75)?, Multiplier::fixed(3 << 29, 0)?);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number isn't finite and positive, or is 2³⁰ or more.
    pub fn of(real: f64) -> Result<Self> {
        require!(
            real.is_finite() && real > 0.0,
            "the requantization multiplier is {real:e}, but it must be finite and positive: check the scales it is made of"
        );
        let mut shift = real.log2().floor() as i32 + 1;
        // log2 may be off by one next to a power of two.
        while real / exp2(shift) >= 1.0 {
            shift += 1;
        }
        while real / exp2(shift) < 0.5 {
            shift -= 1;
        }
        let mut quantized = (real / exp2(shift) * exp2(31)).round() as i64;
        if quantized == 1 << 31 {
            quantized /= 2;
            shift += 1;
        }
        if shift < -31 {
            return Ok(Self { word: 0, shift: 0, fixed: true });
        }
        require!(
            shift <= 30,
            "the requantization multiplier is {real:e}, but fixed-point rounding needs less than 2^30"
        );
        Ok(Self { word: quantized as u32, shift, fixed: true })
    }

    /// True if the multiplier has the form of a rounding mode. For [`Rounding::FixedWide`] TFLite requires a shift of at most 7.
    pub(crate) fn suits(self, rounding: Rounding) -> bool {
        self.fixed == (rounding != Rounding::Onnx) && (rounding != Rounding::FixedWide || self.shift <= 7)
    }

    /// The f32 bits or the quantized multiplier, and the shift, as the shaders read them.
    pub(crate) fn words(self) -> (u32, i32) {
        (self.word, self.shift)
    }
}

fn exp2(exponent: i32) -> f64 {
    f64::from(exponent).exp2()
}

impl Rounding {
    /// The accumulator times the multiplier, rounded in this mode and saturated to i32. Shaders must match this definition bit for
    /// bit. [`Rounding::FixedDouble`] saturates the accumulator to i32 first.
    ///
    /// ```
    /// use lowbit::{Multiplier, Rounding};
    /// let half = Multiplier::float(0.5)?;
    /// assert_eq!(Rounding::Onnx.rescale(5, half), 2); // 2.5, ties to even
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    #[must_use]
    pub fn rescale(self, accumulator: impl Into<i64>, multiplier: Multiplier) -> i32 {
        let accumulator = accumulator.into();
        // Rounds to nearest, halves up.
        let nearest = |quantized: u32, right: i32| {
            let product = i128::from(accumulator) * i128::from(quantized);
            let whole = if right > 0 { (product + (1i128 << (right - 1))) >> right } else { product << -right };
            whole.clamp(i32::MIN.into(), i32::MAX.into()) as i32
        };
        match self {
            Self::Onnx => {
                super::round_saturating(accumulator as f32 * f32::from_bits(multiplier.word), i32::MIN, i32::MAX)
            }
            Self::FixedSingle => nearest(multiplier.word, 31 - multiplier.shift),
            Self::FixedWide => nearest(((multiplier.word + (1 << 15)) >> 16).min((1 << 15) - 1), 15 - multiplier.shift),
            Self::FixedDouble => {
                let saturated = |x: i64| x.clamp(i32::MIN.into(), i32::MAX.into());
                let shifted = saturated(saturated(accumulator) << multiplier.shift.max(0));
                let product = rounding_doubling_high_multiply(shifted, multiplier.word.into());
                rounding_divide_by_power_of_two(product, -multiplier.shift.min(0))
            }
        }
    }
}

/// `a · b / 2³¹` rounded half away from zero above zero and half up below (gemmlowp's SRDHM). `b` is not negative, so the overflow
/// case of gemmlowp can't occur.
fn rounding_doubling_high_multiply(a: i64, b: i64) -> i32 {
    let product = a * b;
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1 << 31)) as i32
}

/// `x / 2^exponent` rounded half away from zero (gemmlowp's RDByPOT).
fn rounding_divide_by_power_of_two(x: i32, exponent: i32) -> i32 {
    let mask = ((1i64 << exponent) - 1) as i32;
    let threshold = (mask >> 1) + i32::from(x < 0);
    (x >> exponent) + i32::from((x & mask) > threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding to nearest in i128 rationals, independent of the shifts above.
    fn nearest(accumulator: i32, quantized: i32, shift: i32, half_up: bool) -> i128 {
        let (mut numerator, mut denominator) = (i128::from(accumulator) * i128::from(quantized), 1i128 << 31);
        if shift >= 0 {
            numerator <<= shift;
        } else {
            denominator <<= -shift;
        }
        let floor = numerator.div_euclid(denominator);
        let twice_rest = 2 * numerator.rem_euclid(denominator);
        floor + i128::from(twice_rest > denominator || (twice_rest == denominator && half_up))
    }

    #[test]
    fn single_rounding_is_the_nearest_integer_with_ties_up() {
        for accumulator in [0, 1, -1, 3, -3, 5, 1000, -1001, i32::MAX, i32::MIN, 123_456_789] {
            for quantized in [0, 1, 1 << 30, (1 << 30) + 1, i32::MAX, 1_234_567_890] {
                for shift in -31..=0 {
                    let multiplier = Multiplier::fixed(quantized, shift).unwrap();
                    let expected = nearest(accumulator, quantized, shift, true);
                    assert_eq!(i128::from(Rounding::FixedSingle.rescale(accumulator, multiplier)), expected);
                }
            }
        }
    }

    #[test]
    fn double_rounding_differs_from_single_by_at_most_one() {
        for accumulator in (-5_000_000..5_000_000).step_by(7_919) {
            let multiplier = Multiplier::of(0.000_123_4).unwrap();
            let single = Rounding::FixedSingle.rescale(accumulator, multiplier);
            let double = Rounding::FixedDouble.rescale(accumulator, multiplier);
            assert!((single - double).abs() <= 1);
        }
    }

    #[test]
    fn multipliers_hold_the_value_to_31_bits() {
        for real in [1.0, 0.5, 0.75, 1e-9, 0.999_999_999_9, 1.0 - f64::EPSILON, 3.7, 123_456.7] {
            let multiplier = Multiplier::of(real).unwrap();
            let back = f64::from(multiplier.word) * exp2(multiplier.shift - 31);
            assert!((back / real - 1.0).abs() <= exp2(-31), "{real} became {back}");
        }
        assert_eq!(Multiplier::of(1e-12).unwrap().words().0, 0);
        assert!(Multiplier::of(2e9).is_err());
        assert!(Multiplier::float(f32::NAN).is_err());
        assert!(Multiplier::float(0.0).is_err());
        assert!(Multiplier::fixed(-1, 0).is_err());
        assert!(Multiplier::fixed(1, 31).is_err());
    }
}
