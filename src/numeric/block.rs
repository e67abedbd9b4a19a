//! Block formats: what elements and scales of MX and NVFP4 are. How tensors become blocks is said in `ops`.

use serde::{Deserialize, Serialize};

use super::{DType, Minifloat, PowerRounding, decode_power, encode_power};
use crate::error::{Result, require};

/// How a block's largest number becomes the power of two that its elements share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockRounding {
    /// `e = ⌊log₂ max|x|⌋ − emax`, where emax is the exponent of the greatest element: OCP MX. Elements between that and twice
    /// the power of two saturate.
    #[default]
    Floor,
    /// `e = ⌈log₂(max|x| / greatest)⌉`: the least power of two with which no element saturates.
    Ceil,
}

/// A block format: what elements are, how many share a scale, and what that is.
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
    /// E4M3 times an f32 for the whole tensor.
    Nested(f32),
}

impl BlockFormat {
    /// An MX format: 32 elements share a power of two in E8M0. Elements are `Float8E4M3Fn`, `Float8E5M2`, `Float6E2M3`,
    /// `Float6E3M2`, `Float4E2M1`, or `Int8` in steps of 2⁻⁶ (MXINT8, −127 … 127).
    ///
    /// # Errors
    /// If the format is another one.
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

    /// NVFP4: 16 elements in E2M1 share a scale in E4M3, and all scales are multiplied by an f32.
    ///
    /// # Errors
    /// If that is not between 2⁻¹²⁰ and 2¹¹⁹, so that its products with E4M3 are normal numbers.
    pub fn nvfp4(global_scale: f32) -> Result<Self> {
        let (least, greatest) = Self::GLOBAL;
        require!(
            (least..=greatest).contains(&global_scale),
            "the scale of all blocks is {global_scale:e}, but it must be {least:e} to {greatest:e}"
        );
        Ok(Self { element: DType::Float4E2M1, size: 16, scales: BlockScales::Nested(global_scale) })
    }

    /// The least and greatest scale of all blocks.
    const GLOBAL: (f32, f32) = (f32::from_bits(7 << 23), f32::from_bits(246 << 23));

    /// NVFP4 for a tensor of which no number is greater in size: the scale of all blocks is `greatest / (448 · 6)`, but at least
    /// 2⁻¹²⁰.
    ///
    /// # Errors
    /// If it is not finite, or negative.
    pub fn nvfp4_for(greatest: f32) -> Result<Self> {
        require!(greatest >= 0.0, "the greatest size is {greatest}, but sizes are not negative");
        Self::nvfp4((greatest / (448.0 * 6.0)).max(Self::GLOBAL.0))
    }

    /// The format of the elements.
    #[must_use]
    pub fn element(&self) -> DType {
        self.element
    }

    /// Elements of a block; the last one of a row may have fewer.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The format of the scales.
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

    /// What scales are multiplied by beside themselves: the f32 of the tensor, or the step of MXINT8.
    pub(crate) fn unit(&self) -> f32 {
        match self.scales {
            BlockScales::Powers(_) if self.element == DType::Int8 => 1.0 / 64.0,
            BlockScales::Powers(_) => 1.0,
            BlockScales::Nested(global) => global,
        }
    }

    /// The code of the scale of a block whose numbers are at most of this size.
    pub(crate) fn scale_code(&self, size: f32) -> u32 {
        match self.scales {
            BlockScales::Nested(global) => E4M3.encode((size / 6.0 / global).clamp(1.0 / 64.0, 448.0), true),
            BlockScales::Powers(rounding) => {
                let greatest = match Minifloat::of(self.element) {
                    Some(layout) => layout.decode(layout.greatest),
                    None => 127.0 / 64.0,
                };
                // Exact in f64: no power of two below is subnormal, and a quotient only has to be compared.
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

    /// The code of a number that a scale can be; another where it can't.
    pub(crate) fn code_of_scale(&self, number: f32) -> u32 {
        match self.scales {
            BlockScales::Nested(_) => E4M3.encode(number, true),
            BlockScales::Powers(_) => encode_power(number, PowerRounding::Nearest, true),
        }
    }

    /// The number of the code of a scale, which the [`unit`](Self::unit) multiplies.
    pub(crate) fn scale_number(&self, code: u32) -> f32 {
        match self.scales {
            BlockScales::Nested(_) => E4M3.decode(code),
            BlockScales::Powers(_) => decode_power(code),
        }
    }
}

/// The scales of NVFP4.
const E4M3: Minifloat = Minifloat::of(DType::Float8E4M3Fn).expect("a small float");
