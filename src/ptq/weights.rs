//! The weights of a layer as codes, and the bytes they take in a file. How they were found is `rounding`'s.

use super::scheme::WeightScheme;
use crate::error::{Result, require};

/// Codes of a matrix of weights, a row per output, with a scale and zero point for each group.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedWeights {
    pub(super) scheme: WeightScheme,
    pub(super) rows: usize,
    /// For every row one per group, or a single one where the whole tensor shares it, once per row.
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i32>,
    pub(super) codes: Vec<i16>,
}

impl QuantizedWeights {
    /// Weights that are codes already (by training, say), for [`QuantizedModel::from_parts`](super::QuantizedModel::from_parts):
    /// `rows` rows of codes, one after the other, and for every row a scale and zero point per group (once per row where the
    /// whole tensor shares them).
    ///
    /// ```
    /// use lowbit::ptq::{QuantizedWeights, WeightScheme};
    /// let weights = QuantizedWeights::new(WeightScheme::per_channel(4), 2, vec![0.5, 2.0], vec![0, 0], vec![1, -7, 3, 0])?;
    /// assert_eq!(weights.dequantized(), [0.5, -3.5, 6.0, 0.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the scheme is not possible, their numbers don't fit, a code or zero point is none of the scheme's, or a scale is not
    /// finite and positive.
    pub fn new(
        scheme: WeightScheme,
        rows: usize,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
        codes: Vec<i16>,
    ) -> Result<Self> {
        scheme.check()?;
        require!(
            rows > 0 && !codes.is_empty() && codes.len().is_multiple_of(rows),
            "{} codes don't make {rows} rows of weights",
            codes.len()
        );
        let k = codes.len() / rows;
        let expected = rows * k.div_ceil(scheme.group(k));
        require!(
            scales.len() == expected && zero_points.len() == expected,
            "{} scales and {} zero points were given, but {rows} rows of {k} codes have {expected}",
            scales.len(),
            zero_points.len()
        );
        let odd = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0));
        require!(odd.is_none(), "a scale is {:e}, but it must be finite and positive", odd.unwrap_or(&0.0));
        let (low, high) = scheme.range();
        let zeros = if scheme.symmetric { 0..=0 } else { low..=high };
        let odd = zero_points.iter().find(|z| !zeros.contains(*z));
        require!(odd.is_none(), "a zero point is {}, but it may be {zeros:?}", odd.unwrap_or(&0));
        let odd = codes.iter().find(|&&code| !(low..=high).contains(&code.into()));
        require!(odd.is_none(), "a code is {}, but codes of this scheme are {low} to {high}", odd.unwrap_or(&0));
        Ok(Self { scheme, rows, scales, zero_points, codes })
    }

    /// How the codes are made.
    #[must_use]
    pub fn scheme(&self) -> WeightScheme {
        self.scheme
    }

    /// The number of rows, one per output.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The codes, row by row.
    #[must_use]
    pub fn codes(&self) -> &[i16] {
        &self.codes
    }

    /// The scales, for every row one per group.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The zero points that belong to the scales.
    #[must_use]
    pub fn zero_points(&self) -> &[i32] {
        &self.zero_points
    }

    /// The length of a row.
    #[must_use]
    pub fn row_length(&self) -> usize {
        self.codes.len() / self.rows
    }

    /// What the codes mean: `scale · (code − zero_point)`, f32.
    #[must_use]
    pub fn dequantized(&self) -> Vec<f32> {
        let k = self.row_length();
        let (group, groups) = (self.scheme.group(k), self.scales.len() / self.rows);
        let value = |(i, &code): (usize, &i16)| {
            let index = i / k * groups + i % k / group;
            self.scales[index] * (i32::from(code) - self.zero_points[index]) as f32
        };
        self.codes.iter().enumerate().map(value).collect()
    }

    /// The bytes of the codes alone: bits · weights / 8, rounded up.
    #[must_use]
    pub fn code_bytes(&self) -> u64 {
        (self.codes.len() as u64 * u64::from(self.scheme.bits)).div_ceil(8)
    }

    /// The bytes of scales (f32) and, where there are any, zero points (a byte each).
    #[must_use]
    pub fn scale_bytes(&self) -> u64 {
        let count = match self.scheme.granularity {
            super::WeightGranularity::Tensor => 1,
            _ => self.scales.len() as u64,
        };
        count * if self.scheme.symmetric { 4 } else { 5 }
    }

    /// The codes one after the other, each in as many bits as it has (two's complement), the first in the lowest.
    pub(super) fn packed(&self) -> Vec<u8> {
        let bits = usize::from(self.scheme.bits);
        let mut bytes = vec![0u8; (self.codes.len() * bits).div_ceil(8)];
        for (i, &code) in self.codes.iter().enumerate() {
            let pattern = u32::from(code as u16) & ((1 << bits) - 1);
            let at = i * bits;
            let shifted = pattern << (at % 8);
            bytes[at / 8] |= shifted as u8;
            if shifted > 0xff {
                bytes[at / 8 + 1] |= (shifted >> 8) as u8;
            }
        }
        bytes
    }

    /// The codes of [`QuantizedWeights::packed`].
    pub(super) fn unpack(scheme: WeightScheme, count: usize, bytes: &[u8]) -> Result<Vec<i16>> {
        let bits = usize::from(scheme.bits);
        let needed = count.saturating_mul(bits).div_ceil(8);
        require!(
            bytes.len() == needed,
            "{count} codes of {bits} bits take {needed} bytes, but there are {}",
            bytes.len()
        );
        let (low, high) = scheme.range();
        let code = |i: usize| {
            let at = i * bits;
            let pair = u32::from(bytes[at / 8]) | u32::from(bytes.get(at / 8 + 1).copied().unwrap_or(0)) << 8;
            let pattern = (pair >> (at % 8)) & ((1 << bits) - 1);
            let sign = if scheme.symmetric && pattern >> (bits - 1) == 1 { 1 << bits } else { 0 };
            pattern as i32 - sign
        };
        let codes: Vec<i32> = (0..count).map(code).collect();
        let odd = codes.iter().find(|code| !(low..=high).contains(*code));
        require!(odd.is_none(), "a code is {}, but codes of this scheme are {low} to {high}", odd.unwrap_or(&0));
        Ok(codes.into_iter().map(|code| code as i16).collect())
    }
}
