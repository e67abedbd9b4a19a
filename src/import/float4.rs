//! Weights of 4-bit floats (E2M1) in groups: NVFP4 and MXFP4. The quantization method doesn't matter here.

use super::{Array, ElementType, Safetensors, build};
use crate::error::{Result, refuse, require};
use crate::numeric::DType;
use crate::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};

/// The number that multiplies or divides all scales of a weight.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Global<'a> {
    /// None.
    None,
    /// A factor, f32, one or one per expert: `weight_scale_2` of ModelOpt.
    Factor(Array<'a>),
    /// A divisor, f32, one or one per expert: `weight_global_scale` of compressed-tensors. Its reciprocal, rounded to f32, is the factor.
    Divisor(Array<'a>),
}

/// The arrays of a weight `[n, k]` or `[experts, n, k]`:
///
/// ```text
/// NVFP4   real[j, l] = global · scale[j, l / 16] · weight[j, l]        the first product is rounded to f32, then the second
/// MXFP4   real[j, l] = scale[j, l / 32] · weight[j, l]
///
/// weight   u8 [n, k / 2] or F4 [n, k]    E2M1, two codes to a byte, low half first
/// scale    F8_E4M3 [n, k / 16], or F8_E8M0 or u8 [n, k / 32]
/// global   f32 [1] or [experts] (NVFP4)
/// ```
///
/// compressed-tensors divides a scale by its global number; here, as in vLLM's kernels, it is multiplied by the reciprocal. The two
/// differ by at most one and a half units in the last place of f32, and not at all if the number is a power of two.
///
/// Sources: `compressors/nvfp4` and `compressors/mxfp4` in the repository `vllm-project/compressed-tensors`;
/// `modelopt/torch/quantization/qtensor/nvfp4_tensor.py` in `NVIDIA/Model-Optimizer`; OCP Microscaling Formats 1.0.
///
/// ```
/// use lowbit::import::float4::{Float4, Global};
/// use lowbit::import::{Array, ElementType};
/// let weight = Array::new(ElementType::Uint8, [1, 16], &[0x72; 16])?; // 1, 6, 1, 6, …
/// let scale = Array::new(ElementType::Uint8, [1, 1], &[126])?; // 2⁻¹
/// let weights = Float4::new(weight, scale, Global::None).weights()?;
/// assert_eq!(weights.dequantize()?.values::<f32>()?[..2], [0.5, 3.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Float4<'a> {
    /// The array of codes: `weight_packed` (compressed-tensors) or `weight` (ModelOpt).
    pub weight: Array<'a>,
    /// The array `weight_scale`.
    pub scale: Array<'a>,
    /// The array `weight_global_scale` (compressed-tensors) or `weight_scale_2` (ModelOpt).
    pub global: Global<'a>,
}

impl<'a> Float4<'a> {
    /// A weight of these arrays.
    #[must_use]
    pub fn new(weight: Array<'a>, scale: Array<'a>, global: Global<'a>) -> Self {
        Self { weight, scale, global }
    }

    /// The arrays of a layer in a file: `weight_packed` or `weight`, `weight_scale`, and `weight_global_scale` or `weight_scale_2`.
    ///
    /// # Errors
    /// If an array is missing.
    pub fn read(file: &Safetensors<'a>, layer: &str) -> Result<Self> {
        let optional = |name: &str| file.optional(&format!("{layer}.{name}"));
        let weight = match optional("weight_packed")? {
            Some(packed) => packed,
            None => file.array(&format!("{layer}.weight"))?,
        };
        let global = match (optional("weight_global_scale")?, optional("weight_scale_2")?) {
            (Some(divisor), _) => Global::Divisor(divisor),
            (None, Some(factor)) => Global::Factor(factor),
            (None, None) => Global::None,
        };
        Ok(Self { weight, scale: file.array(&format!("{layer}.weight_scale"))?, global })
    }

    /// The packed matrices `[n, k]` or `[experts, n, k]`, with the codes and scales of the arrays.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other, a scale is not finite, or there is not enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let Self { weight, scale, global } = self;
        let mut dims = weight.matrices("weight")?;
        match weight.element_type() {
            ElementType::Float4E2M1 => {}
            ElementType::Uint8 => dims[2] = dims[2].saturating_mul(2),
            other => refuse!("weight holds {other:?}, but must hold Float4E2M1 or Uint8"),
        }
        let [experts, n, k] = dims;
        require!(k % 2 == 0, "weight has {k} columns, but two share a byte: {k} must be even");
        let (group, kind, scale) = match scale.element_type() {
            ElementType::Float8E4M3 => (16, ScaleFormat::NestedE4M3, scale.clone()),
            ElementType::Uint8 | ElementType::Float8E8M0 => {
                (32, ScaleFormat::E8M0, scale.cast(ElementType::Float8E8M0))
            }
            other => refuse!("the scale holds {other:?}, but must hold Float8E4M3, Float8E8M0 or Uint8"),
        };
        let groups = k.div_ceil(group);
        let leading = &weight.shape()[..weight.shape().len() - 1];
        scale.expect_shape("the scale", &[leading, &[groups]].concat())?;
        let (factors, divides) = match global {
            Global::None => (None, false),
            Global::Factor(array) => (Some(array), false),
            Global::Divisor(array) => (Some(array), true),
        };
        if let Some(factors) = factors {
            factors.expect_type("the global scale", &[ElementType::Float32])?;
            require!(
                kind == ScaleFormat::NestedE4M3,
                "powers of two have no global scale, but there is one: give Global::None"
            );
            require!(
                factors.len() == 1 || factors.len() == experts,
                "there are {} global scales for {experts} matrices: one or one for each was expected",
                factors.len()
            );
        }
        let factor = |row: usize| {
            let Some(factors) = factors else { return 1.0 };
            let number = factors.float(if factors.len() == 1 { 0 } else { row / n });
            if divides { 1.0 / number } else { number }
        };
        let Some(codes) = Codes::of_float(DType::Float4E2M1) else { refuse!("float4e2m1 is a small float") };
        let format = WeightFormat::new(codes, group, kind);
        build(weight.bytes().len() + scale.bytes().len(), format, dims, |row, codes, params, supers| {
            for (pair, &byte) in codes.chunks_mut(2).zip(&weight.bytes()[row * (k / 2)..]) {
                pair[0] = (byte << 4) as i8 >> 4;
                pair[1] = byte as i8 >> 4;
            }
            for (g, group) in params.iter_mut().enumerate() {
                *group = GroupParams::scale(scale.float(row * groups + g));
            }
            supers.fill(GroupParams::scale(factor(row)));
            Ok(())
        })
    }
}
