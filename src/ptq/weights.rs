//! The weights of a layer as codes, and their size in a file. `rounding` finds the codes.

use super::scheme::{CodeFormat, WeightGranularity, WeightScheme};
use crate::error::{Result, require};
use crate::numeric::BlockFormat;
use crate::weights::{GroupParams, PackedWeights, ScaleFormat, WeightFormat};

/// Codes of a matrix of weights, a row per output, with a scale and zero point for each group.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedWeights {
    pub(super) scheme: WeightScheme,
    pub(super) rows: usize,
    /// For each row one per group. A scale that the whole tensor shares is repeated for each row.
    pub(super) scales: Vec<f32>,
    /// The factor that multiplies the scales of NVFP4; 1 for other schemes.
    pub(super) global_scale: f32,
    pub(super) zero_points: Vec<i32>,
    pub(super) codes: Vec<i16>,
}

impl QuantizedWeights {
    /// Weights that are codes already (by training, say), for
    /// [`QuantizedModel::from_parts`](super::QuantizedModel::from_parts). `codes` holds `rows` rows, one after the other. For
    /// each row there is a scale and a zero point per group; those that the whole tensor shares are repeated for each row.
    /// Codes of floats are their bits. Scales of MX are powers of two. Scales of NVFP4 are E4M3, and
    /// [`with_global_scale`](Self::with_global_scale) sets the factor that multiplies all of them.
    ///
    /// ```
    /// use lowbit::ptq::{QuantizedWeights, WeightScheme};
    /// let weights = QuantizedWeights::new(WeightScheme::per_channel(4), 2, vec![0.5, 2.0], vec![0, 0], vec![1, -7, 3, 0])?;
    /// assert_eq!(weights.dequantized(), [0.5, -3.5, 6.0, 0.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the scheme is not possible, the lengths don't fit, a code or zero point is not one of the scheme's, or a scale is not
    /// finite and positive, or not one that blocks can have.
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
        let block = scheme.block(1.0)?;
        if let Some(block) = block {
            let odd = scales.iter().find(|&&scale| block.scale_number(block.code_of_scale(scale)) != scale);
            require!(
                odd.is_none(),
                "a scale is {:e}, but {scheme} has scales in {}",
                odd.unwrap_or(&0.0),
                block.scale()
            );
        }
        let numbers = scheme.numbers();
        let odd = zero_points.iter().find(|&&z| if scheme.symmetric { z != 0 } else { !numbers.holds(z) });
        let zeros = if scheme.symmetric { "0".into() } else { numbers.to_string() };
        require!(odd.is_none(), "a zero point is {}, but it may be {zeros}", odd.unwrap_or(&0));
        let odd = codes.iter().find(|&&code| !numbers.holds(code.into()));
        require!(odd.is_none(), "a code is {}, but codes of this scheme are {numbers}", odd.unwrap_or(&0));
        Ok(Self { scheme, rows, scales, global_scale: 1.0, zero_points, codes })
    }

    /// These weights with another scale for all blocks of NVFP4; the default is 1.
    ///
    /// # Errors
    /// If the scheme is not NVFP4, or [`BlockFormat::nvfp4`] refuses the scale.
    pub fn with_global_scale(self, scale: f32) -> Result<Self> {
        require!(
            self.scheme.granularity == WeightGranularity::Nvfp4,
            "a scale for all blocks was given, but {} has none",
            self.scheme
        );
        BlockFormat::nvfp4(scale)?;
        Ok(Self { global_scale: scale, ..self })
    }

    /// The scheme of the codes.
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

    /// The scales, for each row one per group, without [the one of all blocks](Self::global_scale).
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The factor that multiplies the scales of NVFP4; 1 for other schemes.
    #[must_use]
    pub fn global_scale(&self) -> f32 {
        self.global_scale
    }

    /// The factors that multiply codes, for each row one per group.
    pub(super) fn whole_scales(&self) -> Vec<f32> {
        self.scales.iter().map(|scale| scale * self.global_scale).collect()
    }

    /// True if rows are integers with one scale each.
    pub(super) fn has_integer_rows(&self) -> bool {
        self.scheme.has_integer_rows(self.row_length())
    }

    /// The zero points, one for each of the [scales](Self::scales).
    #[must_use]
    pub fn zero_points(&self) -> &[i32] {
        &self.zero_points
    }

    /// The length of a row.
    #[must_use]
    pub fn row_length(&self) -> usize {
        self.codes.len() / self.rows
    }

    /// The values of the codes: `scale · global_scale · (code − zero_point)`. For floats, the number of the code replaces the
    /// difference. Each operation is f32.
    #[must_use]
    pub fn dequantized(&self) -> Vec<f32> {
        let k = self.row_length();
        let (group, groups) = (self.scheme.group(k), self.scales.len() / self.rows);
        let (scales, numbers) = (self.whole_scales(), self.scheme.numbers());
        let value = |(i, &code): (usize, &i16)| {
            let index = i / k * groups + i % k / group;
            scales[index] * numbers.value(code.into(), self.zero_points[index])
        };
        self.codes.iter().enumerate().map(value).collect()
    }

    /// The codes as this many matrices of equally many rows, for [`Linear`](crate::ops::Linear).
    pub(super) fn packed_matrices(&self, matrices: usize) -> Result<PackedWeights> {
        let (k, groups) = (self.row_length(), self.scales.len() / self.rows);
        let (codes, group) = (self.scheme.packed_codes(), self.scheme.group(k));
        let scales = match self.scheme.granularity {
            WeightGranularity::Mx(_) => ScaleFormat::E8M0,
            WeightGranularity::Nvfp4 => ScaleFormat::NestedE4M3,
            _ if self.scheme.symmetric => ScaleFormat::F32,
            _ => ScaleFormat::F32Zero,
        };
        // Unsigned codes and their zero points are stored minus half the range of codes.
        let half = if self.scheme.symmetric { 0 } else { 1 << (codes.bits() - 1) };
        let format = WeightFormat::new(codes, if groups == 1 { usize::MAX } else { group }, scales);
        PackedWeights::build(format, [matrices, self.rows / matrices, k], |row, out, of_row, supers| {
            for (out, &code) in out.iter_mut().zip(&self.codes[row * k..]) {
                *out = codes.stored(i32::from(code) - half);
            }
            for (g, out) in of_row.iter_mut().enumerate() {
                let index = row * groups + g;
                *out = GroupParams::new(self.scales[index], (self.zero_points[index] - half) as f32);
            }
            supers.fill(GroupParams::scale(self.global_scale));
            Ok(())
        })
    }

    /// The bytes of the codes alone: bits · weights / 8, rounded up.
    #[must_use]
    pub fn code_bytes(&self) -> u64 {
        (self.codes.len() as u64 * u64::from(self.scheme.codes.bits())).div_ceil(8)
    }

    /// The bytes of scales and zero points. An f32 scale takes 4 bytes, a scale of a block 1, the scale of all blocks of NVFP4
    /// 4. A zero point takes 1 byte; symmetric schemes have none.
    #[must_use]
    pub fn scale_bytes(&self) -> u64 {
        let count = self.scales.len() as u64;
        match self.scheme.granularity {
            WeightGranularity::Tensor => 4 + u64::from(!self.scheme.symmetric),
            WeightGranularity::Channel | WeightGranularity::Group(_) => count * (4 + u64::from(!self.scheme.symmetric)),
            WeightGranularity::Mx(_) => count,
            WeightGranularity::Nvfp4 => count + 4,
        }
    }

    /// The bytes that grow with the weights: those of codes, and those of scales if a row has more than one.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let scales = if self.scales.len() > self.rows { self.scale_bytes() } else { 0 };
        self.code_bytes() + scales
    }

    /// The codes one after the other, each in its own number of bits, the first in the lowest bits. Integers are in two's
    /// complement.
    pub(super) fn packed(&self) -> Vec<u8> {
        let bits = usize::from(self.scheme.codes.bits());
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
        let bits = usize::from(scheme.codes.bits());
        let needed = count.saturating_mul(bits).div_ceil(8);
        require!(
            bytes.len() == needed,
            "{count} codes of {bits} bits take {needed} bytes, but there are {}",
            bytes.len()
        );
        let numbers = scheme.numbers();
        let signed = scheme.symmetric && matches!(scheme.codes, CodeFormat::Int(_));
        let code = |i: usize| {
            let at = i * bits;
            let pair = u32::from(bytes[at / 8]) | u32::from(bytes.get(at / 8 + 1).copied().unwrap_or(0)) << 8;
            let pattern = (pair >> (at % 8)) & ((1 << bits) - 1);
            let sign = if signed && pattern >> (bits - 1) == 1 { 1 << bits } else { 0 };
            pattern as i32 - sign
        };
        let codes: Vec<i32> = (0..count).map(code).collect();
        let odd = codes.iter().find(|&&code| !numbers.holds(code));
        require!(odd.is_none(), "a code is {}, but codes of this scheme are {numbers}", odd.unwrap_or(&0));
        Ok(codes.into_iter().map(|code| code as i16).collect())
    }
}
