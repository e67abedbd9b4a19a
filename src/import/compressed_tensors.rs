//! Linear layers of compressed-tensors (llm-compressor, vLLM). The quantization method doesn't matter here.

use serde::Deserialize;

use super::float4::{Float4, Global};
use super::float8::Float8;
use super::{
    Activations, Array, ElementType, FLOATS, Safetensors, build_indexed, check_index, code_at, integers, quoted,
    scales_with_zeros,
};
use crate::error::{Error, Result, refuse, require};
use crate::numeric::DType;
use crate::weights::{GroupParams, PackedWeights, WeightFormat};

/// The longest JSON of a scheme that is read, in bytes.
const MOST_SAID: usize = 100_000;

/// The quantization of layers: an entry of `config_groups` in a model's `quantization_config`.
///
/// ```
/// use lowbit::import::compressed_tensors::Scheme;
/// let scheme = Scheme::parse(r#"{"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}}"#)?;
/// assert_eq!((scheme.bits, scheme.group, scheme.float), (4, Some(128), false));
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scheme {
    /// `num_bits`: 1 to 8 for integers, 4 or 8 for floats.
    pub bits: usize,
    /// True for floats (`type`): E2M1 of 4 bits, E4M3 of 8.
    pub float: bool,
    /// `group_size`; `None` if scales belong to rows, blocks or the tensor.
    pub group: Option<usize>,
    /// `block_structure`: rows and columns that share a scale.
    pub block: Option<[usize; 2]>,
    /// The inputs: `input_activations`, without the numbers of a static scale, which belong to the layer.
    pub inputs: Option<Inputs>,
}

/// `input_activations` of a scheme.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Inputs {
    /// `num_bits`.
    pub bits: usize,
    /// True for floats.
    pub float: bool,
    /// False if there are zero points.
    pub symmetric: bool,
    /// True if scales are found when the layer runs.
    pub dynamic: bool,
    /// `group_size`, if scales belong to groups along k.
    pub group: Option<usize>,
}

#[derive(Deserialize)]
struct Group {
    weights: Option<Quantity>,
    input_activations: Option<Quantity>,
}

#[derive(Deserialize)]
struct Quantity {
    #[serde(default = "eight")]
    num_bits: usize,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default = "yes")]
    symmetric: bool,
    group_size: Option<i64>,
    block_structure: Option<Block>,
    #[serde(default)]
    dynamic: serde_json::Value,
}

/// `[128, 128]`, or `"128x128"` in old files.
#[derive(Deserialize)]
#[serde(untagged)]
enum Block {
    Sizes([usize; 2]),
    Text(String),
}

fn eight() -> usize {
    8
}

fn yes() -> bool {
    true
}

impl Quantity {
    fn group(&self) -> Option<usize> {
        self.group_size.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0)
    }

    fn is_float(&self) -> bool {
        self.kind.eq_ignore_ascii_case("float")
    }
}

impl Scheme {
    /// Integers of this many bits with scales for rows or the tensor.
    #[must_use]
    pub fn new(bits: usize) -> Self {
        Self { bits, float: false, group: None, block: None, inputs: None }
    }

    /// This scheme in groups of this size along k.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<Option<usize>>) -> Self {
        self.group = group.into();
        self
    }

    /// The scheme of a JSON text with `weights` and perhaps `input_activations`.
    ///
    /// # Errors
    /// If the text is no such JSON, or says nothing about weights.
    pub fn parse(json: &str) -> Result<Self> {
        require!(
            json.len() <= MOST_SAID,
            "the scheme has {} bytes, but a few hundred describe one: the configuration is damaged",
            json.len()
        );
        let group: Group = serde_json::from_str(json)
            .map_err(|error| Error::Request(format!("the scheme of compressed-tensors is damaged: {error}")))?;
        let Some(weights) = group.weights else {
            refuse!("the scheme says nothing about weights: take an entry of config_groups that has them");
        };
        let block = match &weights.block_structure {
            None => None,
            Some(Block::Sizes(sizes)) => Some(*sizes),
            Some(Block::Text(text)) => {
                let sizes = text.split_once('x').and_then(|(b, g)| Some([b.parse().ok()?, g.parse().ok()?]));
                require!(sizes.is_some(), "block_structure is {}, but a block is rows x columns", quoted(text));
                sizes
            }
        };
        let inputs = group.input_activations.map(|inputs| Inputs {
            bits: inputs.num_bits,
            float: inputs.is_float(),
            symmetric: inputs.symmetric,
            // "local" means that scales of groups are found and the global one is constant.
            dynamic: inputs.dynamic == serde_json::Value::Bool(true) || inputs.dynamic.is_string(),
            group: inputs.group(),
        });
        Ok(Self { bits: weights.num_bits, float: weights.is_float(), group: weights.group(), block, inputs })
    }
}

/// The packing of integers in `weight_packed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Packing {
    /// Code i begins at bit i · bits, also across words.
    Dense,
    /// A word holds ⌊32 / bits⌋ whole codes, and its upper bits are 0: 3, 5, 6 and 7 bits in older files.
    Padded,
}

/// The arrays of a layer with `n` outputs and `k` inputs, or of `experts` such:
///
/// ```text
/// real[j, l] = scale[j, g] · (code[j, l] − zero_point[j, g])        g = g_idx[l], or l / group
///
/// pack-quantized        weight_packed      i32 [n, words]      codes plus 2^(bits − 1) along k, low bits first (see Packing)
///                       weight_shape       i64 [2] or [3]      n and k
///                       weight_zero_point  i32 [words, groups] packed alike, along n
/// int-quantized,        weight             i8 [n, k]
/// naive-quantized       weight_zero_point  i8, as the scale
/// both                  weight_scale       f16, bf16 or f32 [n, groups], [n, 1], or [1]
///                       weight_g_idx       i32 [k]; all −1 for l / group
/// float-quantized,      see Float8
/// mxfp8-quantized
/// nvfp4-, mxfp4-pack-   see Float4
/// quantized
/// all                   input_scale, input_zero_point          of the whole input, if it is constant
/// ```
///
/// compressed-tensors computes in the type of the scale, f16 or bf16 too. Here a number is an f32 difference and an f32 product.
///
/// Sources: `compressors` and `quantization` in the repository `vllm-project/compressed-tensors`.
///
/// ```no_run
/// use lowbit::import::compressed_tensors::{CompressedTensors, Scheme};
/// use lowbit::import::{self, Safetensors};
/// // SAFETY: nobody changes the file meanwhile.
/// let bytes = unsafe { import::map("model.safetensors")? };
/// let file = Safetensors::parse(&bytes)?;
/// let scheme = Scheme::new(4).with_group(128);
/// let layer = CompressedTensors::read(&file, "model.layers.0.mlp.down_proj", scheme)?;
/// let (weights, activations) = (layer.weights()?, layer.activations()?);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompressedTensors<'a> {
    /// The array `weight_packed`, or `weight`.
    pub weight: Array<'a>,
    /// The array `weight_scale`.
    pub scale: Array<'a>,
    /// The array `weight_zero_point`.
    pub zero_point: Option<Array<'a>>,
    /// The array `weight_g_idx`.
    pub g_idx: Option<Array<'a>>,
    /// The array `weight_global_scale`.
    pub global_scale: Option<Array<'a>>,
    /// The contents of `weight_shape`, of packed integers.
    pub shape: Option<Vec<usize>>,
    /// The array `input_scale`.
    pub input_scale: Option<Array<'a>>,
    /// The array `input_zero_point`.
    pub input_zero_point: Option<Array<'a>>,
    /// The scheme of the layer.
    pub scheme: Scheme,
    /// The packing of integers; `None` if their number of words tells it.
    pub packing: Option<Packing>,
}

/// Where the codes and zero points of integers are.
enum Place {
    Bytes,
    Words(Packing),
}

impl<'a> CompressedTensors<'a> {
    /// The arrays of a layer in a file.
    ///
    /// # Errors
    /// If a required array is missing, or `weight_shape` holds no sizes.
    pub fn read(file: &Safetensors<'a>, layer: &str, scheme: Scheme) -> Result<Self> {
        let optional = |name: &str| file.optional(&format!("{layer}.{name}"));
        let weight = match optional("weight_packed")? {
            Some(packed) => packed,
            None => file.array(&format!("{layer}.weight"))?,
        };
        let shape = match optional("weight_shape")? {
            None => None,
            Some(array) => {
                array.expect_type("weight_shape", &[ElementType::Int32, ElementType::Int64])?;
                require!(array.len() <= 3, "weight_shape has {} sizes, but weights have two or three", array.len());
                let sizes: Option<Vec<_>> = (0..array.len()).map(|i| usize::try_from(array.integer(i)).ok()).collect();
                require!(sizes.is_some(), "weight_shape has a negative size: the file is damaged");
                sizes
            }
        };
        Ok(Self {
            weight,
            scale: file.array(&format!("{layer}.weight_scale"))?,
            zero_point: optional("weight_zero_point")?,
            g_idx: optional("weight_g_idx")?,
            global_scale: optional("weight_global_scale")?,
            shape,
            input_scale: optional("input_scale")?,
            input_zero_point: optional("input_zero_point")?,
            scheme,
            packing: None,
        })
    }

    /// This layer with integers packed so, for short rows that are packed in as many words by both conventions.
    #[must_use]
    pub fn with_packing(mut self, packing: impl Into<Option<Packing>>) -> Self {
        self.packing = packing.into();
        self
    }

    /// The packed matrices `[n, k]` or `[experts, n, k]`, with the codes and scales of the layer. f16 scales stay f16, bf16 ones
    /// become f32. Zero points are left out if all are 0.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other or the scheme, a number is not finite, or there is not enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let Self { weight, scale, scheme, .. } = self;
        let Scheme { bits, float, group, block, .. } = scheme.clone();
        match (float, bits) {
            (false, _) => self.integers(),
            (true, 4) => {
                let global = self.global_scale.clone().map_or(Global::None, Global::Divisor);
                Float4::new(weight.clone(), scale.clone(), global).weights()
            }
            (true, 8) => {
                let powers = scale.element_type() == ElementType::Uint8;
                let scale = if powers { scale.cast(ElementType::Float8E8M0) } else { scale.clone() };
                let block = block.or(group.map(|group| [1, group]));
                Float8::new(weight.clone(), scale).with_block(block).weights()
            }
            _ => refuse!("floats of {bits} bits, but 4 and 8 are known"),
        }
    }

    /// The quantization of the layer's input.
    ///
    /// # Errors
    /// If the input has a constant scale for each of its columns or tokens, or is of integers that are not 8 bits wide.
    pub fn activations(&self) -> Result<Activations> {
        let Some(inputs) = &self.scheme.inputs else { return Ok(Activations::Float) };
        let dtype = match (inputs.float, inputs.bits) {
            (false, 8) => DType::Int8,
            (true, 8) => DType::Float8E4M3Fn,
            (true, 4) => DType::Float4E2M1,
            (_, bits) => {
                refuse!("inputs of {bits} bits, but int8, E4M3 and E2M1 are known: multiply float activations")
            }
        };
        let group = inputs.group.unwrap_or(usize::MAX);
        let Some(scale) = self.input_scale.as_ref().filter(|_| !inputs.dynamic) else {
            return Ok(Activations::Dynamic { dtype, group, symmetric: inputs.symmetric });
        };
        scale.expect_type("input_scale", &FLOATS)?;
        require!(scale.len() == 1, "input_scale has {} numbers, but inputs have one scale", scale.len());
        let zero_point = match &self.input_zero_point {
            Some(zero) if !inputs.symmetric => {
                zero.expect_type("input_zero_point", &[ElementType::Int8, ElementType::Int32])?;
                require!(zero.len() == 1, "input_zero_point has {} numbers, but inputs have one", zero.len());
                zero.integer(0) as i32
            }
            _ => 0,
        };
        Ok(Activations::Static { dtype, scale: scale.float(0), zero_point })
    }

    fn integers(&self) -> Result<PackedWeights> {
        let Self { weight, scale, zero_point, .. } = self;
        let bits = self.scheme.bits;
        let codes = integers(bits, false)?;
        scale.expect_type("weight_scale", &FLOATS)?;
        let stored = weight.matrices("weight")?;
        let (dims, place) = match weight.element_type() {
            ElementType::Int8 => (stored, Place::Bytes),
            ElementType::Int32 => {
                let dims = match self.shape.as_deref() {
                    Some(&[n, k]) => [1, n, k],
                    Some(&[experts, n, k]) => [experts, n, k],
                    _ => refuse!("weight_packed has no weight_shape of two or three sizes beside it"),
                };
                require!(
                    dims[..2] == stored[..2],
                    "weight_packed is {:?}, but weight_shape is {dims:?}: give the arrays of one layer",
                    weight.shape()
                );
                let packing =
                    self.packing(dims[2], stored[2], |used| (0..weight.len()).all(|i| weight.word(i) >> used == 0))?;
                (dims, Place::Words(packing))
            }
            other => refuse!("weight holds {other:?}, but must hold Int8 or Int32"),
        };
        let [experts, n, k] = dims;
        // Scales, and groups along k.
        let columns = scale.shape().last().copied().unwrap_or(1);
        let (group, groups) = match self.scheme.group {
            Some(group) => (group, k.div_ceil(group.max(1))),
            None if columns > 1
                && scale.len() == experts.saturating_mul(n).saturating_mul(columns)
                && k % columns == 0 =>
            {
                (k / columns, columns)
            }
            None => (usize::MAX, 1),
        };
        require!(group > 0, "groups of 0 codes: give group_size of the configuration");
        let rows = experts.saturating_mul(n);
        let alone = scale.len() == 1 && groups == 1;
        require!(
            alone || Some(scale.len()) == rows.checked_mul(groups),
            "weight_scale is {:?}, but [{experts}, {n}, {k}] (experts, rows, columns) in {groups} groups has {} scales: give \
             group_size of the configuration",
            scale.shape(),
            rows.saturating_mul(groups)
        );
        let at = |row: usize, g: usize| if alone { 0 } else { row * groups + g };
        let half = 1i64 << (bits - 1);
        // Zero points.
        let zero_words = match zero_point {
            None => 0,
            Some(zeros) if matches!(place, Place::Bytes) || zeros.element_type() == ElementType::Int8 => {
                zeros.expect_type("weight_zero_point", &[ElementType::Int8])?;
                require!(
                    zeros.len() == scale.len(),
                    "there are {} zero points and {} scales: give the arrays of one layer",
                    zeros.len(),
                    scale.len()
                );
                0
            }
            Some(zeros) => {
                zeros.expect_type("weight_zero_point", &[ElementType::Int32])?;
                let [of, words, columns] = zeros.matrices("weight_zero_point")?;
                require!(
                    of == experts && columns == groups,
                    "weight_zero_point is {:?}, but there are {experts} matrices with {groups} groups in a row",
                    zeros.shape()
                );
                words
            }
        };
        let zero_packing = match (zero_point, &place) {
            (Some(zeros), Place::Words(_)) if zero_words > 0 => {
                self.packing(n, zero_words, |used| (0..zeros.len()).all(|i| zeros.word(i) >> used == 0))?
            }
            (Some(zeros), Place::Words(_)) if zeros.element_type() == ElementType::Int32 => {
                require!(rows * groups == 0, "weight_zero_point is {:?}, which is empty", zeros.shape());
                Packing::Dense
            }
            _ => Packing::Dense,
        };
        let zero = |row: usize, g: usize| match zero_point {
            None => 0,
            Some(zeros) if zeros.element_type() == ElementType::Int8 => zeros.integer(at(row, g)),
            Some(zeros) => {
                let first = row / n * zero_words;
                let word = |word: usize| zeros.word((first + word) * groups + g);
                i64::from(packed_at(zero_packing, word, bits, row % n)) - half
            }
        };
        let counted = match zero_point {
            None => 0,
            Some(zeros) if zeros.element_type() == ElementType::Int8 => zeros.len(),
            Some(_) => rows * groups,
        };
        let zeros = (0..counted).map(|at| zero(at / groups.max(1), at % groups.max(1)));
        let format = WeightFormat::new(codes, group, scales_with_zeros(scale.element_type(), zeros));
        let index = match &self.g_idx {
            None => None,
            Some(g_idx) => {
                check_index(g_idx, k)?;
                // Older files have an index of −1 if columns are in order.
                (0..k).any(|l| g_idx.integer(l) != -1).then_some(g_idx)
            }
        };
        let words = stored[2];
        let input = weight.bytes().len() + scale.bytes().len() + zero_point.as_ref().map_or(0, |z| z.bytes().len());
        build_indexed(input, format, dims, index, |row, codes, params, _| {
            for (l, code) in codes.iter_mut().enumerate() {
                *code = match place {
                    Place::Bytes => weight.bytes()[row * k + l] as i8,
                    Place::Words(packing) => {
                        (i64::from(packed_at(packing, |word| weight.word(row * words + word), bits, l)) - half) as i8
                    }
                };
            }
            for (g, group) in params.iter_mut().enumerate() {
                *group = GroupParams::new(scale.float(at(row, g)), zero(row, g) as f32);
            }
            Ok(())
        })
    }

    /// The packing of `count` codes in this many words. `rest_is_zero` says if all bits of all words from this one up are 0.
    fn packing(&self, count: usize, words: usize, rest_is_zero: impl Fn(usize) -> bool) -> Result<Packing> {
        let bits = self.scheme.bits;
        let whole = 32 / bits;
        let dense = count.checked_mul(bits).map(|bits| bits.div_ceil(32)) == Some(words);
        let padded = count.div_ceil(whole) == words;
        require!(
            dense || padded,
            "{count} codes of {bits} bits are in {words} words, but {} were expected: give num_bits of the configuration",
            count.div_ceil(whole)
        );
        Ok(match self.packing {
            Some(Packing::Dense) if dense => Packing::Dense,
            Some(Packing::Padded) if padded => Packing::Padded,
            Some(_) => {
                refuse!("{count} codes of {bits} bits are in {words} words, but not by the packing that was asked for")
            }
            None if dense && padded && 32 % bits != 0 && rest_is_zero(whole * bits) => Packing::Padded,
            None if dense => Packing::Dense,
            None => Packing::Padded,
        })
    }
}

/// Code `index` of codes of `bits` bits.
fn packed_at(packing: Packing, word: impl Fn(usize) -> u32, bits: usize, index: usize) -> u32 {
    match packing {
        Packing::Dense => code_at(word, bits, index),
        Packing::Padded => {
            let whole = 32 / bits;
            word(index / whole) >> (index % whole * bits) & ((1 << bits) - 1)
        }
    }
}
