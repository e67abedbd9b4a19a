//! GGUF files and their quantized types (ggml's).
//!
//! | | |
//! |---|---|
//! | [`GgufFile`], [`GgufTensor`] | a file, and a tensor of it |
//! | [`GgufModel`], [`part_names`] | a model in several files |
//! | [`GgufType`], [`weights()`] | the types, and their blocks as [`PackedWeights`], with equal numbers bit for bit |
//! | [`GgufQuantizer`] | real numbers to blocks of least error, with or without the importance of columns |
//! | [`quantize`] | real numbers to the bytes of ggml's reference quantizers, where ggml has them |
//! | [`GgufWriter`], [`GgufDataWriter`], [`GgufValue`] | a file that is written, tensor by tensor |

mod file;
mod grids;
mod quantize;
mod search;
mod split;
mod writer;

use std::fmt;

use half::f16;

use super::build;
use crate::error::{Result, require};
use crate::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
pub use file::{GgufArray, GgufFile, GgufTensor, Value};
pub use quantize::quantize;
pub use search::GgufQuantizer;
pub use split::{GgufModel, part_names};
pub use writer::{GgufDataWriter, GgufTensorType, GgufValue, GgufWriter};

/// A quantized type of GGUF files. Here d and m are f16, s and t small integers, q is the code and T a table of 16:
///
/// | type | codes of a block | bytes | real number | as [`PackedWeights`] |
/// |---|---|---|---|---|
/// | `Q4_0`, `Q5_0` | 32 | 18, 22 | d · (q − 8), d · (q − 16) | the same |
/// | `Q4_1`, `Q5_1` | 32 | 20, 24 | d · q + m | the same |
/// | `Q8_0` | 32 | 34 | d · q | the same |
/// | `Q2_K` | 16 · 16 | 84 | d · s · q − m · t | the same, −m for m |
/// | `Q3_K` | 16 · 16 | 110 | d · s · (q − 4) | the same |
/// | `Q4_K`, `Q5_K` | 8 · 32 | 144, 176 | d · s · q − m · t | the same, −m for m |
/// | `Q6_K` | 16 · 16 | 210 | d · s · (q − 32) | the same |
/// | `IQ4_NL` | 32 | 18 | d · T\[q\] | the same |
/// | `IQ4_XS` | 8 · 32 | 136 | d · s · T\[q\] | the same |
/// | `MXFP4` | 32 | 17 | 2^(e − 128) · T\[q\] | the same, or f32 scales if a number is below 2⁻¹²⁷ |
/// | `NVFP4` | 4 · 16 | 36 | ½ · s · T\[q\], s in E4M3 | f16 scales |
/// | `TQ1_0` | 256 | 54 | d · (q − 1), five q a byte | int2 |
/// | `TQ2_0` | 256 | 66 | d · (q − 1) | int2, or a table of 4 if a q is 3 |
/// | `Q1_0` | 128 | 18 | d or −d | int2 |
/// | `IQ2_XXS` | 8 · 32 | 66 | d · s · G\[p\] | 3-bit table, 3.3 bits a weight |
/// | `IQ2_XS`, `IQ2_S` | 16 · 16 | 74, 82 | d · s · G\[p\] | 3-bit table, 3.6 bits a weight |
/// | `IQ3_XXS`, `IQ3_S` | 8 · 32 | 98, 110 | d · s · G\[p\] | 4-bit table, 4.3 bits a weight |
/// | `IQ1_S` | 8 · 32 | 50 | d · s · (G\[p\] ± ⅛) | 3-bit table, 3.3 bits a weight |
/// | `IQ1_M` | 16 · 16 | 56 | d · s · (G\[p\] ± ⅛) | 3-bit table, 3.6 bits a weight |
///
/// The last seven types have points p of a grid G in place of codes: each point stands for 8 numbers (4 in IQ3), which are of 3
/// sizes (8 in IQ3), with signs beside it. Here each number has a code of its own, a place in a table of the sizes with both signs.
/// So products with int8 are exact, but the weights take more bits than in the file. [`GgufQuantizer`] doesn't make the last ten types.
///
/// Source: `ggml-quants.c` in the repository `ggml-org/ggml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(non_camel_case_types, reason = "the names that everyone knows")]
#[expect(missing_docs, reason = "the table above")]
pub enum GgufType {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
    NVFP4,
    TQ1_0,
    TQ2_0,
    Q1_0,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ3_XXS,
    IQ3_S,
    IQ1_S,
    IQ1_M,
}

/// A plane of a block: some bits of each code. Byte b of each `run` bytes holds `width` bits of each of the codes b, b + run, b
/// + 2 · run …, low bits first. They become the bits from `shift` up in the code.
struct Plane {
    at: usize,
    bytes: usize,
    width: usize,
    run: usize,
    shift: usize,
}

impl Plane {
    /// The plane of 32 codes of 4 bits, from byte `at`.
    const fn nibbles(at: usize) -> Self {
        Self::new(at, 16, 4, 16, 0)
    }

    const fn new(at: usize, bytes: usize, width: usize, run: usize, shift: usize) -> Self {
        Self { at, bytes, width, run, shift }
    }

    fn read(&self, block: &[u8], codes: &mut [u8]) {
        let per_byte = 8 / self.width;
        let mask = ((1u16 << self.width) - 1) as u8;
        let bytes = &block[self.at..self.at + self.bytes];
        for (bytes, codes) in bytes.chunks(self.run).zip(codes.chunks_mut(self.run * per_byte)) {
            for (i, codes) in codes.chunks_mut(self.run).enumerate() {
                for (code, &byte) in codes.iter_mut().zip(bytes) {
                    *code |= (byte >> (i * self.width) & mask) << self.shift;
                }
            }
        }
    }

    /// Writes bits that [`read`](Self::read) reads, into bytes of zeros.
    fn write(&self, codes: &[u8], block: &mut [u8]) {
        let per_byte = 8 / self.width;
        let mask = ((1u16 << self.width) - 1) as u8;
        let bytes = &mut block[self.at..self.at + self.bytes];
        for (bytes, codes) in bytes.chunks_mut(self.run).zip(codes.chunks(self.run * per_byte)) {
            for (i, codes) in codes.chunks(self.run).enumerate() {
                for (code, byte) in codes.iter().zip(&mut *bytes) {
                    *byte |= (code >> self.shift & mask) << (i * self.width);
                }
            }
        }
    }
}

/// Reads the scales of a block.
type ReadScales = fn(&[u8], &mut [GroupParams], &mut [GroupParams]);

/// Reads the codes of a block that are not in planes.
type ReadCodes = fn(&[u8], &mut [u8]);

/// The storage layout of a type.
struct Layout {
    name: &'static str,
    /// The type's number in files.
    id: u32,
    block: usize,
    bytes: usize,
    planes: &'static [Plane],
    /// Instead of planes.
    codes: Option<ReadCodes>,
    /// Added to a signed code when it is stored; half of the codes' range if there is none.
    bias: Option<u8>,
    format: WeightFormat,
    scales: ReadScales,
}

impl GgufType {
    /// All types.
    pub const ALL: [Self; 24] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ4_NL,
        Self::IQ4_XS,
        Self::MXFP4,
        Self::NVFP4,
        Self::TQ1_0,
        Self::TQ2_0,
        Self::Q1_0,
        Self::IQ2_XXS,
        Self::IQ2_XS,
        Self::IQ2_S,
        Self::IQ3_XXS,
        Self::IQ3_S,
        Self::IQ1_S,
        Self::IQ1_M,
    ];

    /// The type of this name, such as `Q4_K`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.name() == name)
    }

    /// The type with this number in files.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.id() == id)
    }

    /// The type's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.layout().name
    }

    /// The type's number in files.
    #[must_use]
    pub fn id(self) -> u32 {
        self.layout().id
    }

    /// Number of codes per block. Rows are whole blocks.
    #[must_use]
    pub fn block(self) -> usize {
        self.layout().block
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.layout().bytes
    }

    /// Bits per weight in the file.
    #[must_use]
    pub fn bits_per_weight(self) -> f64 {
        self.block_bytes() as f64 * 8.0 / self.block() as f64
    }

    /// The format of the type's weights as [`PackedWeights`].
    #[must_use]
    pub fn format(self) -> WeightFormat {
        self.layout().format
    }

    /// Bytes of weights of these dimensions in a file.
    ///
    /// # Errors
    /// If rows of `dims[2]` weights don't fill whole blocks, or there are too many weights.
    pub fn bytes(self, dims: [usize; 3]) -> Result<usize> {
        let [experts, n, k] = dims;
        let (block, bytes) = (self.block(), self.block_bytes());
        require!(
            k % block == 0,
            "rows of {k} weights are no whole blocks of {self}, which hold {block}: the file is damaged, or another tensor's \
             dimensions were given"
        );
        let total = (k / block).checked_mul(bytes).and_then(|row| row.checked_mul(n)?.checked_mul(experts));
        require!(total.is_some(), "{dims:?} weights are more than can be addressed: the file is damaged");
        Ok(total.unwrap_or_default())
    }

    /// Added to a signed code of this format when it is stored. Places in a table and whole bytes are stored unchanged, and so are
    /// unsigned codes.
    fn stored_bias(self, codes: Codes) -> u8 {
        if codes.table().is_some() || codes == Codes::INT8 {
            return 0;
        }
        self.layout().bias.unwrap_or(1 << (codes.bits() - 1))
    }

    /// True if [`GgufQuantizer`] makes blocks of this type. All types are read.
    #[must_use]
    pub fn has_quantizer(self) -> bool {
        (self as usize) < Self::TQ1_0 as usize
    }

    /// Writes a block's codes, given by their values, into bytes of zeros.
    fn write_codes(self, values: &[i32], block: &mut [u8]) {
        let codes = self.layout().format.codes;
        // Unsigned codes have the bias already.
        let bias = if codes.bias() == 0 { i32::from(self.stored_bias(codes)) } else { 0 };
        let mut stored = [0u8; 256];
        for (stored, &value) in stored.iter_mut().zip(values) {
            *stored = match codes.table() {
                Some(table) => table.iter().position(|&of| of == value as f32).unwrap_or_default() as u8,
                None => (value + bias) as u8,
            };
        }
        self.layout().planes.iter().for_each(|plane| plane.write(&stored[..values.len()], block));
    }

    const fn layout(self) -> &'static Layout {
        &LAYOUTS[self as usize]
    }
}

/// The layouts, in the order of the types.
const LAYOUTS: [Layout; 24] = [
    simple("Q4_0", 2, 18, &[Plane::nibbles(2)], Codes::INT4, ScaleFormat::F16, scale),
    simple("Q4_1", 3, 20, &[Plane::nibbles(4)], Codes::UINT4, ScaleFormat::F16Offset, scale_and_offset),
    simple("Q5_0", 6, 22, &[Plane::nibbles(6), Plane::new(2, 4, 1, 1, 4)], Codes::INT5, ScaleFormat::F16, scale),
    simple(
        "Q5_1",
        7,
        24,
        &[Plane::nibbles(8), Plane::new(4, 4, 1, 1, 4)],
        Codes::UINT5,
        ScaleFormat::F16Offset,
        scale_and_offset,
    ),
    simple("Q8_0", 8, 34, &[Plane::new(2, 32, 8, 32, 0)], Codes::INT8, ScaleFormat::F16, scale),
    Layout {
        planes: &[Plane::new(16, 64, 2, 32, 0)],
        format: WeightFormat::new(Codes::UINT2, 16, ScaleFormat::NestedOffset(16)),
        ..nested("Q2_K", 10, 84, q2_k_scales)
    },
    Layout {
        planes: &[Plane::new(32, 64, 2, 32, 0), Plane::new(0, 32, 1, 32, 2)],
        format: WeightFormat::new(Codes::INT3, 16, ScaleFormat::Nested(16)),
        ..nested("Q3_K", 11, 110, q3_k_scales)
    },
    Layout {
        planes: &[Plane::new(16, 128, 4, 32, 0)],
        format: WeightFormat::new(Codes::UINT4, 32, ScaleFormat::NestedOffset(8)),
        ..nested("Q4_K", 12, 144, q4_k_scales)
    },
    Layout {
        planes: &[Plane::new(48, 128, 4, 32, 0), Plane::new(16, 32, 1, 32, 4)],
        format: WeightFormat::new(Codes::UINT5, 32, ScaleFormat::NestedOffset(8)),
        ..nested("Q5_K", 13, 176, q4_k_scales)
    },
    Layout {
        planes: &[Plane::new(0, 128, 4, 64, 0), Plane::new(128, 64, 2, 32, 4)],
        format: WeightFormat::new(Codes::INT6, 16, ScaleFormat::Nested(16)),
        ..nested("Q6_K", 14, 210, q6_k_scales)
    },
    simple("IQ4_NL", 20, 18, &[Plane::nibbles(2)], Codes::IQ4_NL, ScaleFormat::F16, scale),
    Layout {
        planes: &[Plane::new(8, 128, 4, 16, 0)],
        format: WeightFormat::new(Codes::IQ4_NL, 32, ScaleFormat::Nested(8)),
        ..nested("IQ4_XS", 23, 136, iq4_xs_scales)
    },
    simple("MXFP4", 39, 17, &[Plane::nibbles(1)], Codes::E2M1_DOUBLED, ScaleFormat::E8M0, power_of_two),
    Layout {
        block: 64,
        format: WeightFormat::new(Codes::E2M1_DOUBLED, 16, ScaleFormat::F16),
        ..simple("NVFP4", 40, 36, &[Plane::new(4, 32, 4, 8, 0)], Codes::E2M1_DOUBLED, ScaleFormat::F16, nvfp4_scales)
    },
    Layout { codes: Some(tq1_0_codes), ..ternary("TQ1_0", 34, 256, 54, tq1_0_scale) },
    Layout { planes: &[Plane::new(0, 64, 2, 32, 0)], ..ternary("TQ2_0", 35, 256, 66, tq2_0_scale) },
    Layout { codes: Some(q1_0_codes), ..ternary("Q1_0", 41, 128, 18, scale) },
    grid("IQ2_XXS", 16, 66, grids::IQ2, 32, grids::iq2_xxs_codes, grids::iq2_xxs_scales),
    grid("IQ2_XS", 17, 74, grids::IQ2, 16, grids::iq2_xs_codes, grids::iq2_xs_scales),
    grid("IQ2_S", 22, 82, grids::IQ2, 16, grids::iq2_s_codes, grids::iq2_s_scales),
    grid("IQ3_XXS", 18, 98, grids::IQ3_XXS, 32, grids::iq3_xxs_codes, grids::iq3_xxs_scales),
    grid("IQ3_S", 21, 110, grids::IQ3_S, 32, grids::iq3_s_codes, grids::iq3_s_scales),
    grid("IQ1_S", 19, 50, grids::IQ1, 32, grids::iq1_s_codes, grids::iq1_s_scales),
    grid("IQ1_M", 29, 56, grids::IQ1, 16, grids::iq1_m_codes, grids::iq1_m_scales),
];

/// A type whose blocks of 32 share a scale.
const fn simple(
    name: &'static str,
    id: u32,
    bytes: usize,
    planes: &'static [Plane],
    codes: Codes,
    scales: ScaleFormat,
    read: ReadScales,
) -> Layout {
    let format = WeightFormat::new(codes, 32, scales);
    Layout { name, id, block: 32, bytes, planes, codes: None, bias: None, format, scales: read }
}

/// A type of codes −1, 0 and 1 with one scale per block.
const fn ternary(name: &'static str, id: u32, block: usize, bytes: usize, read: ReadScales) -> Layout {
    let format = WeightFormat::new(Codes::INT2, block, ScaleFormat::F16);
    Layout { block, bias: Some(1), format, ..simple(name, id, bytes, &[], Codes::INT2, ScaleFormat::F16, read) }
}

/// A type whose blocks of 256 have points of a grid, and nested scales.
const fn grid(
    name: &'static str,
    id: u32,
    bytes: usize,
    codes: Codes,
    group: usize,
    read: ReadCodes,
    scales: ReadScales,
) -> Layout {
    let format = WeightFormat::new(codes, group, ScaleFormat::Nested(256 / group));
    Layout { codes: Some(read), format, ..nested(name, id, bytes, scales) }
}

/// A type whose blocks of 256 have scales of scales; the caller sets the codes.
const fn nested(name: &'static str, id: u32, bytes: usize, read: ReadScales) -> Layout {
    Layout { block: 256, ..simple(name, id, bytes, &[], Codes::INT8, ScaleFormat::F16, read) }
}

impl fmt::Display for GgufType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The weights of a tensor `[experts, n, k]` from its blocks, with equal numbers bit for bit. (ggml lists dimensions innermost
/// first: k, n, experts.)
///
/// ```
/// use lowbit::import::gguf::{self, GgufType};
/// let values: Vec<f32> = (0..32).map(|i| 127.0 - i as f32).collect();
/// let blocks = gguf::quantize(GgufType::Q8_0, &values)?;
/// let weights = gguf::weights(GgufType::Q8_0, [1, 1, 32], &blocks)?;
/// assert_eq!(weights.dequantize()?.values::<f32>()?, values);
/// # Ok::<(), lowbit::Error>(())
/// ```
///
/// # Errors
/// If rows don't fill whole blocks, the number of blocks doesn't fit the dimensions, a scale is not finite, or there is not
/// enough memory.
pub fn weights(gguf_type: GgufType, dims: [usize; 3], blocks: &[u8]) -> Result<PackedWeights> {
    weights_as(gguf_type, format_of(gguf_type, blocks), dims, blocks)
}

/// The format that holds these blocks: that of the type, but for numbers that its quantizers don't make.
fn format_of(gguf_type: GgufType, blocks: &[u8]) -> WeightFormat {
    let mut format = gguf_type.format();
    let any = |odd: fn(&[u8]) -> bool| blocks.chunks_exact(gguf_type.block_bytes()).any(odd);
    match gguf_type {
        GgufType::MXFP4 if any(has_scale_below_e8m0) => format.scales = ScaleFormat::F32,
        GgufType::TQ2_0 if any(has_code_3) => format.codes = Codes::of_f32s(&[-1.0, 0.0, 1.0, 2.0]),
        _ => {}
    }
    format
}

/// [`weights`] in this format, from as many blocks as they have.
fn weights_as(gguf_type: GgufType, format: WeightFormat, dims: [usize; 3], blocks: &[u8]) -> Result<PackedWeights> {
    let expected = gguf_type.bytes(dims)?;
    require!(
        blocks.len() == expected,
        "{dims:?} weights of {gguf_type} are {expected} bytes, but {} were given: the file is truncated, or another \
         tensor's dimensions were given",
        blocks.len()
    );
    let layout = gguf_type.layout();
    let row_bytes = dims[2] / layout.block * layout.bytes;
    let groups_per_block = layout.block / format.group;
    let supers_per_block = usize::from(matches!(format.scales, ScaleFormat::Nested(_) | ScaleFormat::NestedOffset(_)));
    // Unsigned codes lie in memory minus half their range, too.
    let half = gguf_type.stored_bias(format.codes);
    // The codes of a grid's points take more bytes than its points.
    let input = blocks.len().max(blocks.len() / layout.bytes * layout.block * format.codes.bits() / 8);
    build(input, format, dims, |row, codes, groups, supers| {
        let blocks = blocks[row * row_bytes..][..row_bytes].chunks_exact(layout.bytes);
        let mut scratch = [0u8; 256];
        for (i, (block, codes)) in blocks.zip(codes.chunks_exact_mut(layout.block)).enumerate() {
            let scratch = &mut scratch[..layout.block];
            scratch.fill(0);
            for plane in layout.planes {
                plane.read(block, scratch);
            }
            if let Some(read) = layout.codes {
                read(block, scratch);
            }
            for (code, &read) in codes.iter_mut().zip(&*scratch) {
                *code = read.wrapping_sub(half) as i8;
            }
            let groups = &mut groups[i * groups_per_block..][..groups_per_block];
            (layout.scales)(block, groups, &mut supers[i * supers_per_block..][..supers_per_block]);
            if format.scales == ScaleFormat::E8M0 {
                // Only blocks of zeros have a smaller scale here.
                groups[0].scale = groups[0].scale.max(half_of_e8m0(1));
            }
        }
        Ok(())
    })
}

/// The f16 number at offset `at` of a block.
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn scale(block: &[u8], groups: &mut [GroupParams], _: &mut [GroupParams]) {
    groups[0] = GroupParams::scale(half(block, 0));
}

fn scale_and_offset(block: &[u8], groups: &mut [GroupParams], _: &mut [GroupParams]) {
    groups[0] = GroupParams::new(half(block, 0), half(block, 2));
}

/// The low half of each byte is a scale, the high half an offset.
fn q2_k_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    for (group, &byte) in groups.iter_mut().zip(block) {
        *group = GroupParams::new(f32::from(byte & 15), f32::from(byte >> 4));
    }
    supers[0] = GroupParams::new(half(block, 80), -half(block, 82));
}

/// A scale has 6 bits: 4 are half of one of the first 8 bytes, 2 are a quarter of one of the next 4 bytes.
fn q3_k_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    let (low, high) = block[96..108].split_at(8);
    for (i, group) in groups.iter_mut().enumerate() {
        let bits = (low[i % 8] >> (4 * (i / 8)) & 15) | (high[i % 4] >> (2 * (i / 4)) & 3) << 4;
        *group = GroupParams::scale(f32::from(bits) - 32.0);
    }
    supers[0] = GroupParams::scale(half(block, 108));
}

/// Scales and offsets have 6 bits. For the first 4 groups they are the low 6 bits of bytes 0 … 3 (scales) and 4 … 7 (offsets).
/// For the last 4 groups, the low 4 bits are half of a byte of 8 … 11, and the other 2 are the upper bits of bytes 0 … 3 and 4
/// … 7.
fn q4_k_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    let bytes = &block[4..16];
    for (i, group) in groups.iter_mut().enumerate() {
        let (scale, offset) = if i < 4 {
            (bytes[i] & 63, bytes[i + 4] & 63)
        } else {
            let (scale, offset) = (bytes[i - 4] >> 6, bytes[i] >> 6);
            (bytes[i + 4] & 15 | scale << 4, bytes[i + 4] >> 4 | offset << 4)
        };
        *group = GroupParams::new(f32::from(scale), f32::from(offset));
    }
    supers[0] = GroupParams::new(half(block, 0), -half(block, 2));
}

fn q6_k_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    for (group, &byte) in groups.iter_mut().zip(&block[192..208]) {
        *group = GroupParams::scale(f32::from(byte as i8));
    }
    supers[0] = GroupParams::scale(half(block, 208));
}

/// A scale has 6 bits: 4 are half of a byte of 4 … 7, and 2 come from the word of bytes 2 and 3.
fn iq4_xs_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (i, group) in groups.iter_mut().enumerate() {
        let bits = u16::from(block[4 + i / 2] >> (4 * (i % 2)) & 15) | (high >> (2 * i) & 3) << 4;
        *group = GroupParams::scale(f32::from(bits) - 32.0);
    }
    supers[0] = GroupParams::scale(half(block, 0));
}

/// 2^(e − 128), half of the E8M0 value, because the values of the table are doubled. ggml has no NaN here.
fn power_of_two(block: &[u8], groups: &mut [GroupParams], _: &mut [GroupParams]) {
    groups[0] = GroupParams::scale(half_of_e8m0(block[0]));
}

fn half_of_e8m0(e: u8) -> f32 {
    let e = u32::from(e);
    f32::from_bits(if e < 2 { 1 << (21 + e) } else { (e - 1) << 23 })
}

/// True if a block of MXFP4 holds numbers other than 0 with the scale 2⁻¹²⁸, which is too small for E8M0.
fn has_scale_below_e8m0(block: &[u8]) -> bool {
    block[0] == 0 && block[1..].iter().any(|byte| byte & 0x77 != 0)
}

/// True if a block of TQ2_0 holds twice its scale.
fn has_code_3(block: &[u8]) -> bool {
    block[..64].iter().any(|byte| byte & (byte >> 1) & 0x55 != 0)
}

/// A byte times a power of 3 has a digit of base 3 above it: 0, 1 or 2. Runs of 32, 16 and 4 bytes hold 5, 5 and 4 digits each.
fn tq1_0_codes(block: &[u8], codes: &mut [u8]) {
    let (runs, mut codes) = ([(&block[..32], 5), (&block[32..48], 5), (&block[48..52], 4)], codes.iter_mut());
    for (run, digits) in runs {
        for power in [1u8, 3, 9, 27, 81].into_iter().take(digits) {
            let digit = |byte: &u8| ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
            codes.by_ref().zip(run).for_each(|(code, byte)| *code = digit(byte));
        }
    }
}

fn tq1_0_scale(block: &[u8], groups: &mut [GroupParams], _: &mut [GroupParams]) {
    groups[0] = GroupParams::scale(half(block, 52));
}

fn tq2_0_scale(block: &[u8], groups: &mut [GroupParams], _: &mut [GroupParams]) {
    groups[0] = GroupParams::scale(half(block, 64));
}

/// A bit is the sign of a one.
fn q1_0_codes(block: &[u8], codes: &mut [u8]) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code = (block[2 + i / 8] >> (i % 8) & 1) * 2;
    }
}

fn nvfp4_scales(block: &[u8], groups: &mut [GroupParams], _: &mut [GroupParams]) {
    for (group, &byte) in groups.iter_mut().zip(block) {
        *group = GroupParams::scale(half_of_e4m3(byte));
    }
}

/// Half of an E4M3 without its sign; the NaN is 0.
fn half_of_e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    match exponent {
        _ if byte == 0x7f => 0.0,
        0 => mantissa * 2f32.powi(-10),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 11),
    }
}
