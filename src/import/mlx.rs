//! Quantized weights of MLX (`mlx.core.quantize`), as mlx-lm saves them. The quantization method doesn't matter here.

use super::float4::{Float4, Global};
use super::float8::Float8;
use super::{Array, ElementType, FLOATS, Safetensors, build, code_at, integers, scales_with_offsets};
use crate::error::{Result, refuse, require};
use crate::weights::{GroupParams, PackedWeights, WeightFormat};

/// The mode of a quantized weight: `mode` in a model's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// `affine`: unsigned codes of `bits` bits, 2, 3, 4, 5, 6 or 8, in groups of `group` codes: 32, 64 or 128.
    Affine {
        /// Bits of a code.
        bits: usize,
        /// Codes of a group.
        group: usize,
    },
    /// `mxfp4`: E2M1 in groups of 32 with powers of two.
    Mxfp4,
    /// `mxfp8`: E4M3 in groups of 32 with powers of two.
    Mxfp8,
    /// `nvfp4`: E2M1 in groups of 16 with scales in E4M3.
    Nvfp4,
}

/// The arrays of a weight `[n, k]` or `[experts, n, k]`:
///
/// ```text
/// affine              real[j, l] = scales[j, l / group] · code[j, l] + biases[j, l / group]
/// mxfp4, mxfp8, nvfp4 real[j, l] = scales[j, l / group] · code[j, l]
///
/// weight   u32 [n, k · bits / 32]     codes along k, low bits first, also across words
/// scales   f16, bf16 or f32 [n, k / group]; u8 with bits of E8M0 (mxfp4, mxfp8) or E4M3 (nvfp4)
/// biases   as scales; affine only
/// ```
///
/// MLX computes an affine number in the type of its scales, f16 or bf16 too. Here it is an f32 product and an f32 sum.
///
/// Source: `mlx.core.quantize` in MLX's documentation, and `mlx/backend/cpu/quantized.cpp` in the repository `ml-explore/mlx`.
///
/// ```
/// use lowbit::import::mlx::{Mlx, Mode};
/// use lowbit::import::{Array, ElementType};
/// let weight = Array::new(ElementType::Int32, [1, 4], &[0x21; 16])?; // 1, 2, 1, 2, …
/// let [scales, biases] = [0.5f32.to_le_bytes(), (-1.0f32).to_le_bytes()];
/// let number = |bytes| Array::new(ElementType::Float32, [1, 1], bytes);
/// let layer = Mlx::new(weight, number(&scales)?, number(&biases)?, Mode::Affine { bits: 4, group: 32 });
/// assert_eq!(layer.weights()?.dequantize()?.values::<f32>()?[..2], [-0.5, 0.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mlx<'a> {
    /// The array `weight`.
    pub weight: Array<'a>,
    /// The array `scales`.
    pub scales: Array<'a>,
    /// The array `biases` of the mode `affine`.
    pub biases: Option<Array<'a>>,
    /// The mode.
    pub mode: Mode,
}

impl<'a> Mlx<'a> {
    /// A weight of these arrays.
    #[must_use]
    pub fn new(weight: Array<'a>, scales: Array<'a>, biases: impl Into<Option<Array<'a>>>, mode: Mode) -> Self {
        Self { weight, scales, biases: biases.into(), mode }
    }

    /// The arrays of a layer in a file.
    ///
    /// # Errors
    /// If an array is missing.
    pub fn read(file: &Safetensors<'a>, layer: &str, mode: Mode) -> Result<Self> {
        Ok(Self {
            weight: file.array(&format!("{layer}.weight"))?,
            scales: file.array(&format!("{layer}.scales"))?,
            biases: file.optional(&format!("{layer}.biases"))?,
            mode,
        })
    }

    /// The packed matrices `[n, k]` or `[experts, n, k]`, with the codes and scales of the arrays. f16 stays f16, bf16 becomes f32.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other or the mode, a scale or bias is not finite, or there is not enough
    /// memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        self.weight.expect_type("weight", &[ElementType::Int32])?;
        // Bytes instead of words: twice as many codes of 4 bits, and as many of 8.
        let as_bytes = || {
            let mut shape = self.weight.shape().to_vec();
            if let Some(last) = shape.last_mut() {
                *last = last.saturating_mul(4);
            }
            shape
        };
        let scales_of = |of: ElementType| {
            self.scales.expect_type("scales", &[ElementType::Uint8])?;
            Ok(self.scales.cast(of))
        };
        match self.mode {
            Mode::Affine { bits, group } => self.affine(bits, group),
            Mode::Mxfp4 | Mode::Nvfp4 => {
                let weight = Array::new(ElementType::Uint8, as_bytes(), self.weight.bytes())?;
                let of = if self.mode == Mode::Mxfp4 { ElementType::Float8E8M0 } else { ElementType::Float8E4M3 };
                Float4::new(weight, scales_of(of)?, Global::None).weights()
            }
            Mode::Mxfp8 => {
                let weight = Array::new(ElementType::Float8E4M3, as_bytes(), self.weight.bytes())?;
                Float8::new(weight, scales_of(ElementType::Float8E8M0)?).with_block([1, 32]).weights()
            }
        }
    }

    fn affine(&self, bits: usize, group: usize) -> Result<PackedWeights> {
        let Self { weight, scales, biases, .. } = self;
        require!(matches!(bits, 2..=6 | 8), "{bits} bits: affine weights of MLX have 2, 3, 4, 5, 6 or 8");
        require!(group > 0, "groups of 0 codes: give group_size of the configuration");
        let [experts, n, words] = weight.matrices("weight")?;
        let k_bits = words.checked_mul(32).filter(|k_bits| k_bits % bits == 0);
        require!(k_bits.is_some(), "weight has {words} words along k, which are no whole codes of {bits} bits");
        let k = k_bits.unwrap_or_default() / bits;
        let groups = k.div_ceil(group);
        let shape = [&weight.shape()[..weight.shape().len() - 1], &[groups]].concat();
        let Some(biases) = biases else {
            refuse!("there are no biases, but affine weights have them: give the mode of the configuration");
        };
        for (name, array) in [("scales", scales), ("biases", biases)] {
            array.expect_type(name, &FLOATS)?;
            array.expect_shape(name, &shape)?;
        }
        let kind = scales_with_offsets([scales.element_type(), biases.element_type()]);
        let half = 1 << (bits - 1);
        let format = WeightFormat::new(integers(bits, true)?, group, kind);
        let input = weight.bytes().len() + scales.bytes().len() + biases.bytes().len();
        build(input, format, [experts, n, k], |row, codes, params, _| {
            for (l, code) in codes.iter_mut().enumerate() {
                *code = (code_at(|word| weight.word(row * words + word), bits, l) as i32 - half) as i8;
            }
            for (g, group) in params.iter_mut().enumerate() {
                let at = row * groups + g;
                *group = GroupParams::new(scales.float(at), biases.float(at));
            }
            Ok(())
        })
    }
}
