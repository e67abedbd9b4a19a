//! Block formats: the elements and scales of MX and NVFP4. `ops` documents the quantization of tensors in blocks.

use serde::{Deserialize, Serialize};

use super::{DType, Minifloat, PowerRounding, decode_power, encode_power};
use crate::error::{Result, require};

/// The rounding of a block's largest magnitude to the power of two that its elements share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockRounding {
    /// `e = ⌊log₂ max|x|⌋ − emax`, where emax is the exponent of the greatest element: OCP MX. Numbers between the greatest element
    /// and twice its power of two (both times the scale) saturate.
    #[default]
    Floor,
    /// `e = ⌈log₂(max|x| / greatest)⌉`: the least power of two with which no element saturates.
    Ceil,
}

/// A block format: the data type of elements, the number of elements that share a scale, and the format of scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockFormat {
    element: DType,
    size: usize,
    scales: BlockScales,
}

/// The scales of a block format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum BlockScales {
    /// Powers of two, E8M0.
    Powers(BlockRounding),
    /// E4M3, times an f32 of the whole tensor.
    Nested(f32),
}

impl BlockFormat {
    /// An MX format: 32 elements share a power of two in E8M0. Elements are `Float8E4M3Fn`, `Float8E5M2`, `Float6E2M3`,
    /// `Float6E3M2`, `Float4E2M1`, or `Int8` in steps of 2⁻⁶ (MXINT8, −127 … 127).
    ///
    /// # Errors
    /// If the data type is another one.
    pub fn mx(element: DType, rounding: BlockRounding) -> Result<Self> {
        let known = matches!(
            element,
            DType::Float8E4M3Fn
                | DType::Float8E5M2
                | DType::Float6E2M3
                | DType::Float6E3M2
                | DType::Float4E2M1
                | DType::Int8
        );
        require!(known, "MX has no blocks of {element}: its elements are E4M3FN, E5M2, E2M3, E3M2, E2M1 and int8");
        Ok(Self { element, size: 32, scales: BlockScales::Powers(rounding) })
    }

    /// NVFP4: 16 elements in E2M1 share a scale in E4M3, and an f32 multiplies all scales.
    ///
    /// # Errors
    /// If the f32 is not between 2⁻¹²⁰ and 2¹¹⁹; in this range its products with E4M3 are normal numbers.
    pub fn nvfp4(global_scale: f32) -> Result<Self> {
        let (least, greatest) = Self::GLOBAL;
        require!(
            (least..=greatest).contains(&global_scale),
            "the scale of all blocks is {global_scale:e}, but it must be {least:e} to {greatest:e}"
        );
        Ok(Self { element: DType::Float4E2M1, size: 16, scales: BlockScales::Nested(global_scale) })
    }

    /// The least and greatest f32 that multiplies all scales.
    const GLOBAL: (f32, f32) = (f32::from_bits(7 << 23), f32::from_bits(246 << 23));

    /// NVFP4 for a tensor with magnitudes up to `greatest`: the f32 that multiplies all scales is `greatest / (448 · 6)`, but at
    /// least 2⁻¹²⁰.
    ///
    /// # Errors
    /// If `greatest` is not finite or is negative.
    pub fn nvfp4_for(greatest: f32) -> Result<Self> {
        require!(greatest >= 0.0, "the greatest size is {greatest}, but sizes are not negative");
        Self::nvfp4((greatest / (448.0 * 6.0)).max(Self::GLOBAL.0))
    }

    /// The data type of the elements.
    #[must_use]
    pub fn element(&self) -> DType {
        self.element
    }

    /// Number of elements of a block; the last block of a row may be shorter.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The data type of the scales.
    #[must_use]
    pub fn scale(&self) -> DType {
        match self.scales {
            BlockScales::Powers(_) => DType::Float8E8M0,
            BlockScales::Nested(_) => DType::Float8E4M3Fn,
        }
    }

    pub(crate) fn scales(&self) -> BlockScales {
        self.scales
    }

    /// The constant factor of all scales: the f32 of the tensor, or the step of MXINT8.
    pub(crate) fn unit(&self) -> f32 {
        match self.scales {
            BlockScales::Powers(_) if self.element == DType::Int8 => 1.0 / 64.0,
            BlockScales::Powers(_) => 1.0,
            BlockScales::Nested(global) => global,
        }
    }

    /// The code of the scale of a block with magnitudes up to `size`.
    pub(crate) fn scale_code(&self, size: f32) -> u32 {
        match self.scales {
            BlockScales::Nested(global) => E4M3.encode((size / 6.0 / global).clamp(1.0 / 64.0, 448.0), true),
            BlockScales::Powers(rounding) => {
                let greatest = match Minifloat::of(self.element) {
                    Some(layout) => layout.decode(layout.greatest),
                    None => 127.0 / 64.0,
                };
                // Exact in f64: these powers of two are normal numbers, and a quotient is only compared.
                let powers = (0..=254).map(|code| (code, f64::from(decode_power(code))));
                let (size, greatest) = (f64::from(size), f64::from(greatest));
                let fits = |power: f64| match rounding {
                    BlockRounding::Floor => size < 2.0 * power * f64::from(1u32 << greatest.log2() as u32),
                    BlockRounding::Ceil => size <= greatest * power,
                };
                powers.into_iter().find(|&(_, power)| fits(power)).map_or(254, |(code, _)| code)
            }
        }
    }

    /// The code of a number that is a valid scale; for another number, the code of a near one.
    #[cfg_attr(
        not(feature = "quantize"),
        expect(dead_code, reason = "only files of quantized models hold codes of scales")
    )]
    pub(crate) fn code_of_scale(&self, number: f32) -> u32 {
        match self.scales {
            BlockScales::Nested(_) => E4M3.encode(number, true),
            BlockScales::Powers(_) => encode_power(number, PowerRounding::Nearest, true),
        }
    }

    /// The number of a scale's code, without the factor [`unit`](Self::unit).
    pub(crate) fn scale_number(&self, code: u32) -> f32 {
        match self.scales {
            BlockScales::Nested(_) => E4M3.decode(code),
            BlockScales::Powers(_) => decode_power(code),
        }
    }
}

/// The layout of NVFP4's scales.
const E4M3: Minifloat = Minifloat::of(DType::Float8E4M3Fn).expect("a small float");
