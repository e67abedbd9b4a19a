//! Weights of bitsandbytes in safetensors files: 4-bit ones, whose codes are places in a table, and those of LLM.int8.

use serde::Deserialize;

use super::{Array, ElementType, Safetensors, build, check_size, quoted};
use crate::error::{Error, Result, refuse, require};
use crate::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};

/// The arrays of a 4-bit weight of `shape`, NF4 or FP4. Blocks run over the flattened weight, in row-major order:
///
/// ```text
/// real[e] = quant_map[code[e]] · absmax[e / block]        code[e] = half of byte e / 2, the upper one first
///
/// weight      u8, or the same bytes in another type
/// quant_map   f32 [16]
/// absmax      f32, one per block
/// ```
///
/// In double quantization, absmax is a byte, and
///
/// ```text
/// absmax[b] = nested_quant_map[byte[b]] · nested_absmax[b / nested_block] + nested_offset
///
/// nested_quant_map   f32 [256]
/// nested_absmax      f32
/// ```
///
/// Each operation is rounded to f32. bitsandbytes rounds the real numbers once more, to the type that the layer computes in.
///
/// In a file, the arrays of `layer.weight` are `layer.weight.absmax` and so on. Sizes are JSON in the bytes of
/// `layer.weight.quant_state.bitsandbytes__nf4` (`__fp4`).
///
/// Source: `QuantState` and `dequantize_4bit` in `bitsandbytes/functional.py` of the repository
/// `bitsandbytes-foundation/bitsandbytes`.
///
/// ```no_run
/// use lowbit::import::bitsandbytes::FourBit;
/// use lowbit::import::{self, Safetensors};
/// // SAFETY: nobody changes the file meanwhile.
/// let bytes = unsafe { import::map("model.safetensors")? };
/// let file = Safetensors::parse(&bytes)?;
/// let weights = FourBit::read(&file, "model.layers.0.mlp.down_proj.weight")?.weights()?;
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FourBit<'a> {
    /// The array `weight`, of any type.
    pub weight: Array<'a>,
    /// The array `absmax`.
    pub absmax: Array<'a>,
    /// The array `quant_map`.
    pub quant_map: Array<'a>,
    /// The arrays of double quantization, if absmax is quantized.
    pub nested: Option<Nested<'a>>,
    /// `blocksize`: the number of weights that share an absmax.
    pub block: usize,
    /// `shape` of the weight: `[n, k]` or `[experts, n, k]`.
    pub shape: Vec<usize>,
}

/// The quantization of absmax.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Nested<'a> {
    /// The array `nested_absmax`.
    pub absmax: Array<'a>,
    /// The array `nested_quant_map`.
    pub quant_map: Array<'a>,
    /// `nested_blocksize`: the number of bytes that share a nested absmax.
    pub block: usize,
    /// `nested_offset`.
    pub offset: f32,
}

impl<'a> Nested<'a> {
    /// These arrays, in blocks of this size, with this number added.
    #[must_use]
    pub fn new(absmax: Array<'a>, quant_map: Array<'a>, block: usize, offset: f32) -> Self {
        Self { absmax, quant_map, block, offset }
    }
}

/// The longest description of a weight that is read, in bytes.
const MOST_SAID: usize = 10_000;

/// The description of a weight.
#[derive(Deserialize)]
struct State {
    blocksize: usize,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_offset: Option<f64>,
}

impl<'a> FourBit<'a> {
    /// A weight of this shape in blocks of this size.
    #[must_use]
    pub fn new(
        weight: Array<'a>,
        absmax: Array<'a>,
        quant_map: Array<'a>,
        block: usize,
        shape: impl Into<Vec<usize>>,
    ) -> Self {
        Self { weight, absmax, quant_map, nested: None, block, shape: shape.into() }
    }

    /// This weight with a quantized absmax, if it is.
    #[must_use]
    pub fn with_nested(mut self, nested: impl Into<Option<Nested<'a>>>) -> Self {
        self.nested = nested.into();
        self
    }

    /// The weight `name` (such as `model.layers.0.mlp.down_proj.weight`) in a file.
    ///
    /// # Errors
    /// If an array is missing, or the description of the weight is missing or damaged.
    pub fn read(file: &Safetensors<'a>, name: &str) -> Result<Self> {
        let state = |of: &str| file.optional(&format!("{name}.quant_state.bitsandbytes__{of}"));
        let state = if let Some(state) = state("nf4")? { Some(state) } else { state("fp4")? };
        let Some(state) = state else {
            refuse!(
                "{} has no quant_state.bitsandbytes__nf4 or __fp4 beside it: take the name of a weight that bitsandbytes saved in 4 \
                 bits",
                quoted(name)
            );
        };
        require!(
            state.bytes().len() <= MOST_SAID,
            "the quant_state of {} has {} bytes, but a few hundred describe a weight: the file is damaged",
            quoted(name),
            state.bytes().len()
        );
        let state: State = serde_json::from_slice(state.bytes())
            .map_err(|error| Error::Request(format!("the quant_state of {} is damaged: {error}", quoted(name))))?;
        let array = |part: &str| file.array(&format!("{name}.{part}"));
        let nested = match (state.nested_blocksize, state.nested_offset) {
            (Some(block), Some(offset)) => {
                Some(Nested::new(array("nested_absmax")?, array("nested_quant_map")?, block, offset as f32))
            }
            _ => None,
        };
        let weight = Self::new(file.array(name)?, array("absmax")?, array("quant_map")?, state.blocksize, state.shape);
        Ok(weight.with_nested(nested))
    }

    /// The packed matrices `[n, k]` or `[experts, n, k]`: 4-bit places in the table `quant_map`, with f32 scales. They are for float
    /// activations, because int8 doesn't hold the table's numbers.
    ///
    /// Blocks that end within rows have their scale in each row. With k columns, a group has as many as divide both k and the block.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other, `block` or `shape`, a number is not finite, or so few columns share
    /// a scale in all rows that the weights would take several times their memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let dims = match *self.shape {
            [n, k] => [1, n, k],
            [experts, n, k] => [experts, n, k],
            _ => refuse!("a weight of shape {:?}, but weights have two or three dimensions", self.shape),
        };
        let [experts, n, k] = dims;
        let count = experts.checked_mul(n).and_then(|rows| rows.checked_mul(k));
        let bytes = self.weight.bytes();
        require!(
            count.is_some_and(|count| count.div_ceil(2) == bytes.len()),
            "{:?} weights are two to a byte, but weight has {} bytes: give the arrays of one weight",
            self.shape,
            bytes.len()
        );
        require!(self.block > 0, "blocks of 0 weights: a block has at least 1");
        let blocks = count.unwrap_or_default().div_ceil(self.block);
        self.quant_map.expect_type("quant_map", &[ElementType::Float32])?;
        self.quant_map.expect_shape("quant_map", &[16])?;
        let numbers: [f32; 16] = std::array::from_fn(|place| self.quant_map.float(place));
        let scales = self.scales(blocks)?;

        // With one row, no block ends in another.
        let group = if experts * n == 1 { self.block } else { common_divisor(k, self.block) };
        let format = WeightFormat::new(Codes::of_numbers(&numbers)?, group, ScaleFormat::F32);
        let input = bytes.len() + self.absmax.bytes().len();
        require!(
            check_size(input, format, dims).is_ok(),
            "blocks of {} weights go on in the next row of {k}, so only {group} neighbours share a scale in all rows, and {:?} weights \
             would take several times their memory: dequantize them, or quantize them in blocks that divide {k}",
            self.block,
            self.shape
        );
        build(input, format, dims, |row, codes, groups, _| {
            let first = row * k;
            for (l, code) in codes.iter_mut().enumerate() {
                let byte = bytes[(first + l) / 2];
                *code = (if (first + l).is_multiple_of(2) { byte >> 4 } else { byte & 15 }) as i8;
            }
            for (g, of) in groups.iter_mut().enumerate() {
                *of = GroupParams::scale(scales.get((first + g * group) / self.block));
            }
            Ok(())
        })
    }

    /// The scales of this many blocks.
    fn scales(&self, blocks: usize) -> Result<Scales<'_>> {
        let count = |name: &str, array: &Array<'_>, of: ElementType, needed: usize| -> Result<()> {
            array.expect_type(name, &[of])?;
            let count = array.bytes().len() / of.bytes();
            require!(
                count == needed,
                "{name} has {count} numbers, but {:?} weights in blocks of {} make it {needed}: give the arrays of one weight",
                self.shape,
                self.block
            );
            Ok(())
        };
        let Some(nested) = &self.nested else {
            count("absmax", &self.absmax, ElementType::Float32, blocks)?;
            return Ok(Scales { absmax: &self.absmax, nested: None });
        };
        require!(nested.block > 0, "nested blocks of 0 bytes: a block has at least 1");
        count("absmax", &self.absmax, ElementType::Uint8, blocks)?;
        count("nested_absmax", &nested.absmax, ElementType::Float32, blocks.div_ceil(nested.block))?;
        count("nested_quant_map", &nested.quant_map, ElementType::Float32, 256)?;
        Ok(Scales { absmax: &self.absmax, nested: Some(nested) })
    }
}

/// The scales of blocks, whose arrays have the right sizes.
struct Scales<'a> {
    absmax: &'a Array<'a>,
    nested: Option<&'a Nested<'a>>,
}

impl Scales<'_> {
    fn get(&self, block: usize) -> f32 {
        let Some(nested) = self.nested else { return self.absmax.float(block) };
        let byte = usize::from(self.absmax.bytes()[block]);
        nested.quant_map.float(byte) * nested.absmax.float(block / nested.block) + nested.offset
    }
}

/// The greatest divisor of both.
fn common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The arrays of a weight of LLM.int8:
///
/// ```text
/// real[j, l] = weight[j, l] · (SCB[j] / 127)
///
/// weight          i8 [n, k]
/// SCB             f32 [n]      the greatest magnitude of each row
/// weight_format   u8           0 if there is one: rows in order
/// ```
///
/// Operations are rounded to f32, as in `Embedding8bit`; `int8_vectorwise_dequant` multiplies by SCB and 1 / 127 one after the other,
/// which may differ in the last bit.
///
/// LLM.int8 computes columns of outlying activations in float16, with these weights' real numbers; files hold no other copy of
/// them. A [`Linear`](crate::ops::Linear) with float activations computes all columns so.
///
/// Source: `Linear8bitLt` and `Embedding8bit` in `bitsandbytes/nn/modules.py` of the repository
/// `bitsandbytes-foundation/bitsandbytes`.
///
/// ```
/// use lowbit::import::bitsandbytes::Int8;
/// use lowbit::import::{Array, ElementType};
/// let weight = Array::new(ElementType::Int8, [2, 2], &[1, 127, 0xff, 0])?;
/// let scb = [127f32.to_le_bytes(), 254f32.to_le_bytes()].concat();
/// let weights = Int8::new(weight, Array::new(ElementType::Float32, [2], &scb)?).weights()?;
/// assert_eq!(weights.dequantize()?.values::<f32>()?, [1.0, 127.0, -2.0, 0.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Int8<'a> {
    /// The array `weight`.
    pub weight: Array<'a>,
    /// The array `SCB`.
    pub scb: Array<'a>,
}

impl<'a> Int8<'a> {
    /// A weight of these arrays.
    #[must_use]
    pub fn new(weight: Array<'a>, scb: Array<'a>) -> Self {
        Self { weight, scb }
    }

    /// The weight of a layer (such as `model.layers.0.mlp.down_proj`) in a file.
    ///
    /// # Errors
    /// If an array is missing, or `weight_format` is not that of rows in order.
    pub fn read(file: &Safetensors<'a>, layer: &str) -> Result<Self> {
        let order = file.optional(&format!("{layer}.weight_format"))?;
        require!(
            order.is_none_or(|order| order.bytes().iter().all(|&byte| byte == 0)),
            "{} has the weight_format of one GPU: save it in rows, as bitsandbytes does since 0.37",
            quoted(layer)
        );
        Ok(Self::new(file.array(&format!("{layer}.weight"))?, file.array(&format!("{layer}.SCB"))?))
    }

    /// The packed matrix `[n, k]`: int8 with an f32 scale per row.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other, a scale is not finite, or there is not enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        self.weight.expect_type("weight", &[ElementType::Int8])?;
        let [n, k] = self.weight.matrix("weight")?;
        self.scb.expect_type("SCB", &[ElementType::Float32])?;
        require!(
            self.scb.bytes().len() / 4 == n,
            "SCB has {} numbers, but weight has {n} rows: give the arrays of one layer",
            self.scb.bytes().len() / 4
        );
        let bytes = self.weight.bytes();
        let format = WeightFormat::new(Codes::INT8, usize::MAX, ScaleFormat::F32);
        build(bytes.len() + self.scb.bytes().len(), format, [1, n, k], |row, codes, groups, _| {
            codes.iter_mut().zip(&bytes[row * k..]).for_each(|(code, &byte)| *code = byte as i8);
            groups.fill(GroupParams::scale(self.scb.float(row) / 127.0));
            Ok(())
        })
    }
}
