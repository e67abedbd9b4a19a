//! The operands of ONNX Runtime's `com.microsoft.MatMulNBits`. The operator's arithmetic is in `ops`.

use super::{Array, ElementType, FLOATS, any_of, build_indexed, scales_with_zeros};
use crate::error::{Result, require};
use crate::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};

/// The weights of a `MatMulNBits` node, `n` rows (outputs) by `k` columns (inputs):
///
/// ```text
/// real[j, l] = scales[j, g] · (code[j, l] − zero_points[j, g])        g = l / block_size, or g_idx[l]
///
/// b            u8 [n, blocks, block_size · bits / 8]    codes 0 … 2^bits − 1, low bits first; blocks = ⌈k / block_size⌉
/// scales       f16, bf16 or f32, blocks to a row
/// zero_points  u8, ⌈blocks · bits / 8⌉ to a row, packed like codes; or real numbers, blocks to a row; or 2^(bits−1)
/// g_idx        i32 [k] (deprecated by ONNX Runtime)
/// ```
///
/// Only the sizes of `b`, `scales` and `zero_points` are checked, not their shapes, because exporters flatten them. Codes past
/// k in the last block are ignored.
///
/// Source: the operator's documentation in onnxruntime (`docs/ContribOperators.md`).
///
/// ```
/// use lowbit::import::onnx::MatMulNBits;
/// use lowbit::import::{Array, ElementType};
/// let scale = 0.5f32.to_le_bytes();
/// let scales = Array::new(ElementType::Float32, [1], &scale)?;
/// let node = MatMulNBits::new([1, 3], 4, 16, &[0xa9, 0x07, 0, 0, 0, 0, 0, 0], scales);
/// assert_eq!(node.weights()?.dequantize()?.values::<f32>()?, [0.5, 1.0, -0.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MatMulNBits<'a> {
    /// The attribute `N`.
    pub n: usize,
    /// The attribute `K`.
    pub k: usize,
    /// The attribute `bits`: 2, 4 or 8.
    pub bits: usize,
    /// The attribute `block_size`.
    pub block_size: usize,
    /// The bytes of the input `B`.
    pub b: &'a [u8],
    /// The input `scales`.
    pub scales: Array<'a>,
    /// The input `zero_points`, if the node has it.
    pub zero_points: Option<Array<'a>>,
    /// The input `g_idx`, if the node has it.
    pub g_idx: Option<Array<'a>>,
}

impl<'a> MatMulNBits<'a> {
    /// A node with these attributes, with the inputs `B` and `scales`.
    #[must_use]
    pub fn new([n, k]: [usize; 2], bits: usize, block_size: usize, b: &'a [u8], scales: Array<'a>) -> Self {
        Self { n, k, bits, block_size, b, scales, zero_points: None, g_idx: None }
    }

    /// This node with the input `zero_points`, if there is one.
    #[must_use]
    pub fn with_zero_points(mut self, zero_points: impl Into<Option<Array<'a>>>) -> Self {
        self.zero_points = zero_points.into();
        self
    }

    /// This node with the input `g_idx`, if there is one.
    #[must_use]
    pub fn with_g_idx(mut self, g_idx: impl Into<Option<Array<'a>>>) -> Self {
        self.g_idx = g_idx.into();
        self
    }

    /// The packed matrix `[n, k]`, with the codes and scales of the node. f16 scales stay f16, bf16 ones become f32. If all
    /// zero points are the default, they are left out.
    ///
    /// # Errors
    /// If an attribute is out of range, the size of an array doesn't fit the attributes, a scale is not finite, or there is not
    /// enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let &Self { n, k, bits, block_size, b, .. } = self;
        require!(matches!(bits, 2 | 4 | 8), "{bits} bits: MatMulNBits has 2, 4 or 8");
        let block_bits = block_size.checked_mul(bits).filter(|bits| bits % 8 == 0 && *bits > 0);
        require!(block_bits.is_some(), "blocks of {block_size} codes of {bits} bits: a block fills whole bytes");
        let block_bytes = block_bits.unwrap_or_default() / 8;
        let blocks = k.div_ceil(block_size);
        let row_bytes = blocks.checked_mul(block_bytes);
        expect_size("B", b.len(), row_bytes.and_then(|row| row.checked_mul(n)))?;
        let row_bytes = row_bytes.unwrap_or_default();
        self.scales.expect_type("scales", &FLOATS)?;
        expect_count("scales", &self.scales, n.checked_mul(blocks))?;
        let zeros = self.zeros(blocks)?;

        let float = matches!(zeros, Zeros::Real(_));
        let codes = match bits {
            2 if float => Codes::UINT2,
            2 => Codes::INT2,
            4 if float => Codes::UINT4,
            4 => Codes::INT4,
            _ if float => Codes::UINT8,
            _ => Codes::INT8,
        };
        let scales = match zeros {
            Zeros::Real(_) => ScaleFormat::F32RealZero,
            _ => scales_with_zeros(self.scales.element_type(), (0..n * blocks).map(|g| zeros.integer(g, blocks, bits))),
        };
        let format = WeightFormat::new(codes, block_size, scales);
        let input = b.len() + self.scales.bytes().len();
        build_indexed(input, format, [1, n, k], self.g_idx.as_ref(), |row, codes, groups, _| {
            let (per_byte, mask, half) = (8 / bits, (1u16 << bits) - 1, 1i16 << (bits - 1));
            for (codes, &byte) in codes.chunks_mut(per_byte).zip(&b[row * row_bytes..]) {
                for (i, code) in codes.iter_mut().enumerate() {
                    *code = ((u16::from(byte) >> (i * bits) & mask) as i16 - half) as i8;
                }
            }
            for (g, group) in groups.iter_mut().enumerate() {
                let g = row * blocks + g;
                let shift = match &zeros {
                    Zeros::Real(zeros) => zeros.float(g),
                    zeros => zeros.integer(g, blocks, bits) as f32,
                };
                *group = GroupParams::new(self.scales.float(g), shift);
            }
            Ok(())
        })
    }

    fn zeros(&self, blocks: usize) -> Result<Zeros<'_>> {
        let Some(zeros) = &self.zero_points else { return Ok(Zeros::Default) };
        let expected = if zeros.element_type() == ElementType::Uint8 {
            blocks.checked_mul(self.bits).map(|bits| bits.div_ceil(8))
        } else {
            let types = [FLOATS.as_slice(), &[ElementType::Uint8]].concat();
            require!(
                zeros.element_type().is_float(),
                "zero_points holds {:?}, but must hold {}",
                zeros.element_type(),
                any_of(&types)
            );
            Some(blocks)
        };
        expect_count("zero_points", zeros, expected.and_then(|row| row.checked_mul(self.n)))?;
        Ok(if zeros.element_type().is_float() { Zeros::Real(zeros) } else { Zeros::Packed(zeros) })
    }
}

/// The zero points of a node.
enum Zeros<'a> {
    /// None are given.
    Default,
    /// In as many bits as the codes.
    Packed(&'a Array<'a>),
    /// As real numbers.
    Real(&'a Array<'a>),
}

impl Zeros<'_> {
    /// The zero point of group `index`, counted over all rows, minus the default.
    fn integer(&self, index: usize, blocks: usize, bits: usize) -> i64 {
        let Self::Packed(zeros) = self else { return 0 };
        let row_bytes = (blocks * bits).div_ceil(8);
        let (row, at) = (index / blocks, index % blocks * bits);
        let byte = zeros.bytes()[row * row_bytes + at / 8];
        i64::from(u16::from(byte) >> (at % 8) & ((1 << bits) - 1)) - (1 << (bits - 1))
    }
}

fn expect_size(name: &str, size: usize, expected: Option<usize>) -> Result<()> {
    require!(
        expected == Some(size),
        "{name} has {size} numbers, but N, K, bits and block_size make it {}: give the inputs and attributes of one node",
        expected.map_or("more than can be addressed".to_string(), |expected| expected.to_string())
    );
    Ok(())
}

fn expect_count(name: &str, array: &Array<'_>, expected: Option<usize>) -> Result<()> {
    expect_size(name, array.bytes().len() / array.element_type().bytes(), expected)
}
