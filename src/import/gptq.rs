//! Linear layers of GPTQ checkpoints, as AutoGPTQ, GPTQModel and AutoRound save them. The quantization method doesn't matter here.

use super::{
    Array, ElementType, FLOATS, Safetensors, build_indexed, check_index, code_at, integers, scales_with_zeros,
};
use crate::error::{Result, require};
use crate::weights::{GroupParams, PackedWeights, WeightFormat};

/// The meaning of `qzeros`: `checkpoint_format` in a model's `quantize_config.json`.
///
/// In `gptq`, zero points of 2, 4 and 8 bits are decremented in whole words: 0x55555555, 0x11111111 or 0x01010101 is subtracted
/// from the word, so a zero point of 0 borrows from the next one. Adding the constant restores all of them. Zero points of 3
/// bits span words; each is decremented by itself, modulo 8. So are those of 5, 6 and 7 bits.
///
/// Sources: `gptqmodel/utils/model.py` in the repository `ModelCloud/GPTQModel`, which writes zero points of 0, and
/// `auto_round_extension/torch` in `intel/auto-round`. Two kinds of files don't reveal that they need other rules, and are read
/// wrong: AutoGPTQ's packer fills the bits after a zero point of 0 with ones, and GPTQModel before 7.0 subtracts other words from
/// zero points of 3 bits in `gptq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ZeroPoints {
    /// `gptq`, and AutoRound's `auto_round:auto_gptq`: the zero point minus 1, as in nearly all checkpoints.
    LessOne,
    /// `gptq_v2`, `gptq_p`, and AutoRound's `auto_round` and `auto_round:gptqmodel`: the zero point itself.
    AsIs,
}

/// The order of the bits of 32 codes in as many words as a code has bits. For codes of 2, 4 and 8 bits it is one order.
///
/// Source: `gptqmodel/utils/planar_packing.py` in the repository `ModelCloud/GPTQModel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Packing {
    /// `gptq`, `gptq_v2`, and all of AutoRound: code i begins at bit i · bits, also across words.
    #[default]
    Stream,
    /// `gptq_p`: planes of bits, the lower ones first, in words of their own. Those of 3, 5, 6 and 7 bits are 2 + 1, 4 + 1, 4 + 2 and
    /// 4 + 2 + 1 bits wide.
    Planes,
}

impl Packing {
    fn code(self, word: impl Fn(usize) -> u32, bits: usize, index: usize) -> u32 {
        let planes: &[usize] = match (self, bits) {
            (Self::Planes, 3) => &[2, 1],
            (Self::Planes, 5) => &[4, 1],
            (Self::Planes, 6) => &[4, 2],
            (Self::Planes, 7) => &[4, 2, 1],
            _ => return code_at(word, bits, index),
        };
        let (mut first, mut offset, mut code) = (index / 32 * bits, 0, 0);
        for &plane in planes {
            let at = index % 32 * plane;
            code |= (word(first + at / 32) >> (at % 32) & ((1 << plane) - 1)) << offset;
            (first, offset) = (first + plane, offset + plane);
        }
        code
    }
}

/// The arrays of a layer with `n` outputs and `k` inputs, in codes of 2 to 8 bits, as AutoGPTQ, GPTQModel and AutoRound save them:
///
/// ```text
/// real[j, l] = scales[g, j] · (code[l, j] − zero[g, j])          g = g_idx[l], or l / group
///
/// qweight  i32 [k · bits / 32, n]        codes along k, low bits first, also across words (see Packing)
/// qzeros   i32 [groups, n · bits / 32]   zero points along n, packed alike, 1 less in most checkpoints (see ZeroPoints)
/// scales   f16, bf16 or f32 [groups, n]
/// g_idx    i32 [k]                       in any order if the model was quantized with desc_act; all 0 for l / group
/// ```
///
/// Source: `auto_gptq/nn_modules/qlinear` in the repository `AutoGPTQ/AutoGPTQ`.
///
/// ```no_run
/// use lowbit::import::gptq::{Gptq, ZeroPoints};
/// use lowbit::import::{self, Safetensors};
/// // SAFETY: nobody changes the file meanwhile.
/// let bytes = unsafe { import::map("model.safetensors")? };
/// let file = Safetensors::parse(&bytes)?;
/// let layer = Gptq::read(&file, "model.layers.0.mlp.down_proj", 4, 128, ZeroPoints::LessOne)?;
/// let weights = layer.weights()?;
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Gptq<'a> {
    /// The array `qweight`.
    pub qweight: Array<'a>,
    /// The array `qzeros`.
    pub qzeros: Array<'a>,
    /// The array `scales`.
    pub scales: Array<'a>,
    /// The array `g_idx`; `None` or all zeros if groups are in order.
    pub g_idx: Option<Array<'a>>,
    /// `bits` of the configuration.
    pub bits: usize,
    /// `group_size` of the configuration; `usize::MAX` for −1, one group for the whole row.
    pub group: usize,
    /// The storage of zero points.
    pub zero_points: ZeroPoints,
    /// The order of bits.
    pub packing: Packing,
}

impl<'a> Gptq<'a> {
    /// A layer of `bits` bits with these arrays, in one group for the whole row without `g_idx`.
    #[must_use]
    pub fn new(qweight: Array<'a>, qzeros: Array<'a>, scales: Array<'a>, bits: usize, zero_points: ZeroPoints) -> Self {
        Self { qweight, qzeros, scales, g_idx: None, bits, group: usize::MAX, zero_points, packing: Packing::Stream }
    }

    /// This layer in groups of this size.
    #[must_use]
    pub fn with_group(mut self, group: usize) -> Self {
        self.group = group;
        self
    }

    /// This layer with bits in this order.
    #[must_use]
    pub fn with_packing(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }

    /// This layer with the group of each column, if there is an array of them.
    #[must_use]
    pub fn with_g_idx(mut self, g_idx: impl Into<Option<Array<'a>>>) -> Self {
        self.g_idx = g_idx.into();
        self
    }

    /// The arrays of a layer in a file.
    ///
    /// # Errors
    /// If a required array is missing.
    pub fn read(
        file: &Safetensors<'a>,
        layer: &str,
        bits: usize,
        group: usize,
        zero_points: ZeroPoints,
    ) -> Result<Self> {
        Ok(Self {
            qweight: file.array(&format!("{layer}.qweight"))?,
            qzeros: file.array(&format!("{layer}.qzeros"))?,
            scales: file.array(&format!("{layer}.scales"))?,
            g_idx: file.optional(&format!("{layer}.g_idx"))?,
            bits,
            group,
            zero_points,
            packing: Packing::Stream,
        })
    }

    /// The packed matrix `[n, k]`, with the codes and scales of the layer. f16 scales stay f16, bf16 ones become f32. If all
    /// zero points are the middle of the codes (`sym`), they are left out.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other, `bits` or `group`, a scale is not finite, `g_idx` puts more
    /// columns into a group than the group holds, or there is not enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let &Self { ref qweight, ref qzeros, ref scales, bits, group, .. } = self;
        require!((2..=8).contains(&bits), "{bits} bits: GPTQ layers have 2 to 8");
        let codes = integers(bits, false)?;
        let packing = self.packing;
        require!(group > 0, "groups of 0 codes: give group_size of the configuration, and usize::MAX for -1");
        qweight.expect_type("qweight", &[ElementType::Int32])?;
        let [words, n] = qweight.matrix("qweight")?;
        let k_bits = words.checked_mul(32).filter(|k_bits| k_bits % bits == 0);
        require!(k_bits.is_some(), "qweight has {words} words along k, which are no whole codes of {bits} bits");
        let k = k_bits.unwrap_or_default() / bits;
        require!(
            packing == Packing::Stream || (k % 32 == 0 && n % 32 == 0),
            "planes of bits hold 32 codes, but the layer is [{n}, {k}]: it has another packing"
        );
        let groups = k.div_ceil(group);
        scales.expect_type("scales", &FLOATS)?;
        scales.expect_shape("scales", &[groups, n])?;
        qzeros.expect_type("qzeros", &[ElementType::Int32])?;
        let zero_words = n.saturating_mul(bits).div_ceil(32);
        qzeros.expect_shape("qzeros", &[groups, zero_words])?;

        let half = 1 << (bits - 1);
        let mask = (1u32 << bits) - 1;
        let (to_word, to_code) = match (self.zero_points, bits) {
            (ZeroPoints::AsIs, _) => (0, 0),
            // A 1 in each code of the word.
            (ZeroPoints::LessOne, 2 | 4 | 8) => (u32::MAX / mask, 0),
            (ZeroPoints::LessOne, _) => (0, 1),
        };
        let zero = |g: usize, row: usize| {
            let word = |word| qzeros.word(g * zero_words + word).wrapping_add(to_word);
            i64::from((packing.code(word, bits, row) + to_code) & mask) - half
        };
        let zeros = (0..groups * n).map(|at| zero(at / n, at % n));
        let format = WeightFormat::new(codes, group, scales_with_zeros(scales.element_type(), zeros));
        let input = qweight.bytes().len() + scales.bytes().len() + qzeros.bytes().len();
        if let Some(g_idx) = &self.g_idx {
            check_index(g_idx, k)?;
        }
        let index = self.g_idx.as_ref().filter(|g_idx| g_idx.bytes().iter().any(|&byte| byte != 0));
        build_indexed(input, format, [1, n, k], index, |row, codes, groups, _| {
            for (l, code) in codes.iter_mut().enumerate() {
                *code = (i64::from(packing.code(|word| qweight.word(word * n + row), bits, l)) - half) as i8;
            }
            for (g, group) in groups.iter_mut().enumerate() {
                *group = GroupParams::new(scales.float(g * n + row), zero(g, row) as f32);
            }
            Ok(())
        })
    }
}
