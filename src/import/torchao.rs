//! Weights of torchao in safetensors files, in the layouts that are plain arrays. Layouts of single kernels (tile packed,
//! preshuffled, opaque, int32 of one vendor's backend) have no definition outside the kernel and are not supported.

use serde::Deserialize;

use super::{Array, ElementType, FLOATS, Safetensors, build, quoted, scales_with_zeros};
use crate::error::{Error, Result, refuse, require};
use crate::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};

/// A tensor subclass of torchao.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorClass {
    /// `Int4Tensor`.
    Int4,
    /// `IntxUnpackedToInt8Tensor` of this many bits, 1 to 8.
    Intx(usize),
    /// `Int8Tensor`.
    Int8,
}

/// The arrays of a weight `[n, k]` or `[experts, n, k]`:
///
/// ```text
/// Int4Tensor                 real = scale · q + zero_point
///     qdata       i8 or u8 [n, k / 2]        two codes −8 … 7 to a byte, low half first
///     scale       f16, bf16 or f32 [k / g, n]
///     zero_point  the same, an offset: the real number of code 0 (tinygemm's zero, which belongs to code 8 of 0 … 15)
/// IntxUnpackedToInt8Tensor   real = scale · (q − zero_point)
///     qdata       i8 [n, k]                  a code to a byte, in the range of its bits
///     scale       f16, bf16 or f32 [n / b, k / g]
///     zero_point  i8, or a real number, of the same shape
/// Int8Tensor                 real = scale · q
///     qdata       i8 [n, k]
///     scale       f16, bf16 or f32, [n, 1], or [1, 1] for the whole tensor
/// ```
///
/// A weight with experts has a leading dimension in each array. Blocks of `[b, g]` codes share a scale. In a file, the arrays
/// of the weight `model.layer.weight` are `model.layer._weight_qdata` and so on; the metadata entry `model.layer.weight` names
/// the class.
///
/// Source: `torchao/quantization/quantize_/workflows` and `torchao/prototype/safetensors` in the repository `pytorch/ao`.
///
/// ```
/// use lowbit::import::torchao::{TensorClass, TorchAo};
/// use lowbit::import::{Array, ElementType};
/// let qdata = Array::new(ElementType::Int8, [2, 2], &[1, 2, 0xff, 0x80])?;
/// let scale = Array::new(ElementType::Float16, [2, 1], &[0x00, 0x3c, 0x00, 0x38])?; // 1.0, 0.5
/// let weight = TorchAo::new(TensorClass::Int8, qdata, scale, [1, 2]);
/// assert_eq!(weight.weights()?.dequantize()?.values::<f32>()?, [1.0, 2.0, -0.5, -64.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TorchAo<'a> {
    /// The class.
    pub class: TensorClass,
    /// The array `qdata`.
    pub qdata: Array<'a>,
    /// The array `scale`.
    pub scale: Array<'a>,
    /// The array `zero_point`, if there is one.
    pub zero_point: Option<Array<'a>>,
    /// The attribute `block_size`: the number of codes along each dimension that share a scale.
    pub block_size: Vec<usize>,
}

/// The longest description that is read, in bytes.
const MOST_SAID: usize = 10_000;

/// The metadata of a tensor.
#[derive(Debug, Deserialize)]
struct Description {
    #[serde(rename = "_type")]
    class: String,
    #[serde(rename = "_data", default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    block_size: Vec<usize>,
    target_dtype: Option<DataType>,
}

#[derive(Debug, Deserialize)]
struct DataType {
    #[serde(rename = "_data")]
    name: String,
}

/// Dimensions and positions of codes and scales.
struct Places {
    dims: [usize; 3],
    /// Codes of a block along experts and along rows.
    block: [usize; 2],
    /// Codes of a block along k.
    group: usize,
    groups: usize,
    /// True if scales are stored with rows innermost.
    transposed: bool,
}

impl Places {
    /// Index of the scale of group `g` in a row.
    fn scale(&self, row: usize, g: usize) -> usize {
        let [_, n, _] = self.dims;
        let (expert, row) = (row / n / self.block[0], row % n / self.block[1]);
        let rows = n / self.block[1];
        if self.transposed { (expert * self.groups + g) * rows + row } else { (expert * rows + row) * self.groups + g }
    }

    fn scales(&self) -> Option<usize> {
        let [experts, n, _] = self.dims;
        (experts / self.block[0]).checked_mul(n / self.block[1])?.checked_mul(self.groups)
    }
}

impl<'a> TorchAo<'a> {
    /// A weight of this class without zero points.
    #[must_use]
    pub fn new(class: TensorClass, qdata: Array<'a>, scale: Array<'a>, block_size: impl Into<Vec<usize>>) -> Self {
        Self { class, qdata, scale, zero_point: None, block_size: block_size.into() }
    }

    /// This weight with the array `zero_point`, if there is one.
    #[must_use]
    pub fn with_zero_point(mut self, zero_point: impl Into<Option<Array<'a>>>) -> Self {
        self.zero_point = zero_point.into();
        self
    }

    /// The weight `name` (such as `model.layers.0.mlp.down_proj.weight`) in a file.
    ///
    /// # Errors
    /// If the metadata of the file don't describe the weight or are damaged, its class is not supported, or an array is
    /// missing.
    pub fn read(file: &Safetensors<'a>, name: &str) -> Result<Self> {
        let Some(description) = file.metadata(name) else {
            refuse!(
                "the metadata say nothing about \"{name}\": take the name of a weight that torchao saved in this file"
            );
        };
        require!(
            description.len() <= MOST_SAID,
            "the metadata say {} bytes about \"{name}\", but a few hundred describe a weight: the file is damaged",
            description.len()
        );
        let description: Description = serde_json::from_str(&description)
            .map_err(|error| Error::Request(format!("what the metadata say about \"{name}\" is damaged: {error}")))?;
        let (module, weight) = name.rsplit_once('.').unwrap_or(("", name));
        let part = |part: &str| format!("{module}._{weight}_{part}");
        let attributes = description.attributes;
        let class = match &description.class[..] {
            "Int4Tensor" => TensorClass::Int4,
            "Int8Tensor" => TensorClass::Int8,
            "IntxUnpackedToInt8Tensor" => {
                let target = attributes.target_dtype.map(|target| target.name).unwrap_or_default();
                let bits = target.strip_prefix("int").and_then(|bits| bits.parse().ok());
                require!(
                    bits.is_some(),
                    "\"{name}\" has the target_dtype {}, but int1 to int8 are known",
                    quoted(&target)
                );
                TensorClass::Intx(bits.unwrap_or_default())
            }
            other => {
                refuse!(
                    "\"{name}\" is of the class {}, but Int4Tensor, IntxUnpackedToInt8Tensor and Int8Tensor are known: save it in \
                     the plain packing format",
                    quoted(other)
                );
            }
        };
        let smoothed = file.optional(&part("act_pre_scale"))?.is_some();
        require!(
            !smoothed,
            "\"{name}\" wants its activations scaled by act_pre_scale first: fold that into the layer before"
        );
        Ok(Self {
            class,
            qdata: file.array(&part("qdata"))?,
            scale: file.array(&part("scale"))?,
            zero_point: file.optional(&part("zero_point"))?,
            block_size: attributes.block_size,
        })
    }

    /// The packed matrices `[n, k]` or `[experts, n, k]`, with the codes and scales of the tensor. f16 stays f16, bf16 becomes
    /// f32. Zero points are left out if all are 0.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other or `block_size`, a code is out of range, a scale is not
    /// finite, or there is not enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let (codes, per_byte) = match self.class {
            TensorClass::Int4 => (Codes::INT4, 2),
            TensorClass::Int8 => (Codes::INT8, 1),
            TensorClass::Intx(bits) => (intx_codes(bits)?, 1),
        };
        self.qdata.expect_type("qdata", &[ElementType::Int8, ElementType::Uint8][..per_byte])?;
        self.scale.expect_type("scale", &FLOATS)?;
        let places = self.places(per_byte)?;
        let (scale, zeros) = (&self.scale, self.zero_point.as_ref());
        let count = places.scales();
        for (name, array) in [("scale", Some(scale)), ("zero_point", zeros)] {
            let Some(array) = array else { continue };
            let size = array.bytes().len() / array.element_type().bytes();
            require!(
                count == Some(size),
                "{name} has {size} numbers, but blocks of {:?} make it {}: give the arrays of one tensor",
                self.block_size,
                count.unwrap_or_default()
            );
        }
        let scales = self.scales(count.unwrap_or_default())?;
        let format = WeightFormat::new(codes, places.group, scales);
        let bytes = self.qdata.bytes();
        let k_bytes = places.dims[2] / per_byte;
        build(bytes.len() + scale.bytes().len(), format, places.dims, |row, codes, groups, _| {
            let bytes = &bytes[row * k_bytes..][..k_bytes];
            if per_byte == 2 {
                for (pair, &byte) in codes.chunks_exact_mut(2).zip(bytes) {
                    pair.copy_from_slice(&[(byte << 4) as i8 >> 4, byte as i8 >> 4]);
                }
            } else {
                codes.iter_mut().zip(bytes).for_each(|(code, &byte)| *code = byte as i8);
            }
            for (g, group) in groups.iter_mut().enumerate() {
                let at = places.scale(row, g);
                *group = GroupParams::new(scale.float(at), zeros.map_or(0.0, |zeros| zeros.float(at)));
            }
            Ok(())
        })
    }

    fn places(&self, per_byte: usize) -> Result<Places> {
        let shape = self.qdata.shape();
        let dims = match *shape {
            [n, bytes] => Some([1, n, bytes]),
            [experts, n, bytes] => Some([experts, n, bytes]),
            _ => None,
        };
        let dims = dims.and_then(|[experts, n, bytes]| Some([experts, n, bytes.checked_mul(per_byte)?]));
        require!(dims.is_some(), "qdata is {shape:?}, but weights have two or three dimensions");
        let dims = dims.unwrap_or_default();
        let block = match *self.block_size {
            [b, g] if shape.len() == 2 => Some([1, b, g]),
            [e, b, g] if shape.len() == 3 => Some([e, b, g]),
            _ => None,
        };
        let fits = |block: &[usize; 3]| block.iter().zip(dims).all(|(&b, d)| b > 0 && d % b == 0);
        let block = block.filter(fits);
        require!(
            block.is_some(),
            "blocks of {:?} don't divide {dims:?} (experts, rows, columns): give the block_size of this tensor",
            self.block_size
        );
        let [e, b, group] = block.unwrap_or_default();
        let groups = dims[2] / group;
        Ok(Places { dims, block: [e, b], group, groups, transposed: self.class == TensorClass::Int4 })
    }

    /// The storage format of `count` scales and zero points.
    fn scales(&self, count: usize) -> Result<ScaleFormat> {
        let scale = self.scale.element_type();
        let Some(zeros) = &self.zero_point else { return Ok(scales_with_zeros(scale, std::iter::empty())) };
        if self.class == TensorClass::Int4 {
            zeros.expect_type("zero_point", &FLOATS)?;
            let half = [scale, zeros.element_type()] == [ElementType::Float16; 2];
            return Ok(if half { ScaleFormat::F16Offset } else { ScaleFormat::F32Offset });
        }
        zeros.expect_type("zero_point", &[FLOATS.as_slice(), &[ElementType::Int8]].concat())?;
        let integers = (0..count).all(|at| zeros.float(at).fract() == 0.0);
        // The cast saturates to i64. A zero point beyond i64 is beyond i8 too, so the choice stays right.
        let zero = |at: usize| zeros.float(at) as i64;
        Ok(if integers { scales_with_zeros(scale, (0..count).map(zero)) } else { ScaleFormat::F32RealZero })
    }
}

/// The narrowest codes with at least this many bits.
fn intx_codes(bits: usize) -> Result<Codes> {
    Ok(match bits {
        1 | 2 => Codes::INT2,
        3 => Codes::INT3,
        4 => Codes::INT4,
        5 => Codes::INT5,
        6 => Codes::INT6,
        7 | 8 => Codes::INT8,
        _ => refuse!("{bits} bits: intx has 1 to 8"),
    })
}
