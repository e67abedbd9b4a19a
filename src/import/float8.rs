//! Weights of 8-bit floats with scales for the tensor, for rows, or for blocks of rows and columns. The quantization method doesn't
//! matter here.

use super::{Array, ElementType, FLOATS, Safetensors, build, plain_scales};
use crate::error::{Result, refuse, require};
use crate::numeric::DType;
use crate::weights::{Codes, GroupParams, PackedWeights, WeightFormat};

/// The arrays of a weight `[n, k]` or `[experts, n, k]`:
///
/// ```text
/// real[j, l] = scale[j / b, l / g] · weight[j, l]
///
/// weight   F8_E4M3 or F8_E5M2 [n, k]
/// scale    f16, bf16, f32 or F8_E8M0: 1 number for the tensor; n numbers, [n] or [n, 1], for rows; [⌈n / b⌉, ⌈k / g⌉] for
///          blocks of [b, g] codes; with experts, as many for each
/// ```
///
/// So are FP8 weights of compressed-tensors (`weight_scale`), ModelOpt (`weight_scale`) and DeepSeek (`weight_scale_inv`, which is a
/// factor all the same, in blocks of `[128, 128]`), and MXFP8 (powers of two for blocks of `[1, 32]`).
///
/// Sources: `compressors/naive_quantized` in the repository `vllm-project/compressed-tensors`; `modelopt/torch/export` in
/// `NVIDIA/Model-Optimizer`; `inference/kernel.py` in `deepseek-ai/DeepSeek-V3`.
///
/// ```
/// use lowbit::import::float8::Float8;
/// use lowbit::import::{Array, ElementType};
/// let weight = Array::new(ElementType::Float8E4M3, [2, 2], &[0x38, 0x40, 0xb8, 0x7e])?; // 1, 2, −1, 448
/// let scale = Array::new(ElementType::Float16, [2, 1], &[0x00, 0x3c, 0x00, 0x38])?; // 1, 0.5
/// let weights = Float8::new(weight, scale).weights()?;
/// assert_eq!(weights.dequantize()?.values::<f32>()?, [1.0, 2.0, -0.5, 224.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Float8<'a> {
    /// The array `weight`.
    pub weight: Array<'a>,
    /// The array of scales.
    pub scale: Array<'a>,
    /// Rows and columns of a block; `None` if scales belong to the tensor or to rows.
    pub block: Option<[usize; 2]>,
}

impl<'a> Float8<'a> {
    /// A weight with scales for the tensor or for rows.
    #[must_use]
    pub fn new(weight: Array<'a>, scale: Array<'a>) -> Self {
        Self { weight, scale, block: None }
    }

    /// This weight with scales for blocks of so many rows and columns.
    #[must_use]
    pub fn with_block(mut self, block: impl Into<Option<[usize; 2]>>) -> Self {
        self.block = block.into();
        self
    }

    /// The arrays of a layer in a file: `weight`, and `weight_scale_inv` or `weight_scale`. `block` is `weight_block_size`
    /// (DeepSeek), `block_structure` (compressed-tensors) or `None`.
    ///
    /// # Errors
    /// If an array is missing.
    pub fn read(file: &Safetensors<'a>, layer: &str, block: Option<[usize; 2]>) -> Result<Self> {
        let inverse = file.optional(&format!("{layer}.weight_scale_inv"))?;
        let scale = match inverse {
            Some(scale) => scale,
            None => file.array(&format!("{layer}.weight_scale"))?,
        };
        Ok(Self { weight: file.array(&format!("{layer}.weight"))?, scale, block })
    }

    /// The packed matrices `[n, k]` or `[experts, n, k]`, with the codes and scales of the arrays. f16 scales stay f16, powers of
    /// two stay so, bf16 scales become f32.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other or the block, a code or a scale is not finite, or there is not
    /// enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let Self { weight, scale, block } = self;
        let dtype = match weight.element_type() {
            ElementType::Float8E4M3 => DType::Float8E4M3Fn,
            ElementType::Float8E5M2 => DType::Float8E5M2,
            other => refuse!("weight holds {other:?}, but must hold Float8E4M3 or Float8E5M2"),
        };
        let Some(codes) = Codes::of_float(dtype) else { refuse!("{dtype} is no small float") };
        scale.expect_type("the scale", &[FLOATS.as_slice(), &[ElementType::Float8E8M0]].concat())?;
        let [experts, n, k] = weight.matrices("weight")?;
        let places = Places::new([experts, n, k], scale.len(), *block)?;
        if block.is_some() && scale.shape().len() > 1 {
            let leading = &weight.shape()[..weight.shape().len() - 2];
            scale.expect_shape(
                "the scale",
                &[leading, &[places.of_expert / places.groups.max(1), places.groups]].concat(),
            )?;
        }
        let format = WeightFormat::new(codes, places.group, plain_scales(scale.element_type()));
        let input = weight.bytes().len() + scale.bytes().len();
        build(input, format, [experts, n, k], |row, codes, groups, _| {
            codes.iter_mut().zip(&weight.bytes()[row * k..]).for_each(|(code, &byte)| *code = byte as i8);
            for (g, group) in groups.iter_mut().enumerate() {
                *group = GroupParams::scale(scale.float(places.scale(row, g)));
            }
            Ok(())
        })
    }
}

/// The scale of each row and group.
struct Places {
    n: usize,
    /// Codes along k that share a scale.
    group: usize,
    /// Scales along k.
    groups: usize,
    /// Rows that share a scale.
    rows: usize,
    /// Scales of an expert; 0 if all experts share them.
    of_expert: usize,
}

impl Places {
    fn new([experts, n, k]: [usize; 3], count: usize, block: Option<[usize; 2]>) -> Result<Self> {
        if let Some([b, g]) = block {
            require!(b > 0 && g > 0, "blocks of [{b}, {g}]: a block has rows and columns");
            let (rows, groups) = (n.div_ceil(b), k.div_ceil(g));
            let needed = rows.checked_mul(groups).and_then(|each| each.checked_mul(experts));
            require!(
                needed == Some(count),
                "there are {count} scales, but blocks of [{b}, {g}] of [{experts}, {n}, {k}] (experts, rows, columns) make it {}: \
                 give the block size of the configuration",
                needed.map_or("more than can be addressed".to_string(), |needed| needed.to_string())
            );
            return Ok(Self { n, group: g, groups, rows: b, of_expert: rows * groups });
        }
        let (rows, of_expert) = match count {
            1 => (usize::MAX, 0),
            _ if count == experts => (usize::MAX, 1),
            _ if experts.checked_mul(n) == Some(count) => (1, n),
            _ => refuse!(
                "there are {count} scales for [{experts}, {n}, {k}] (experts, rows, columns): one for all, one for each expert or \
                 one for each row was expected; give the block size of the configuration if they belong to blocks"
            ),
        };
        Ok(Self { n, group: usize::MAX, groups: 1, rows, of_expert })
    }

    fn scale(&self, row: usize, g: usize) -> usize {
        row / self.n * self.of_expert + row % self.n / self.rows * self.groups + g
    }
}
