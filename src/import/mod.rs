//! Converts quantized weights from model files to [`PackedWeights`], code for code. Each file format has a module. Shared
//! parts, arrays in files and bounds on memory, are here. File contents are never trusted.
//!
//! | module | layouts |
//! |---|---|
//! | [`gguf`] | the blocks of GGUF files, and the files, which are written, too |
//! | [`gptq`] | `qweight`, `qzeros`, `scales` and `g_idx` of GPTQ checkpoints |
//! | [`awq`] | `qweight`, `qzeros` and `scales` of AWQ checkpoints |
//! | [`bitsandbytes`] | NF4 and FP4 with plain and quantized scales, and LLM.int8 |
//! | [`onnx`] | the operands of `com.microsoft.MatMulNBits` |
//! | [`torchao`] | the tensors of torchao's int4, intx and int8 weights |
//! | [`compressed_tensors`] | integers, FP8, FP4 and microscaling formats of llm-compressor and vLLM |
//! | [`float8`] | FP8 with scales of tensors, rows and blocks: compressed-tensors, ModelOpt, DeepSeek; MXFP8 |
//! | [`float4`] | NVFP4 and MXFP4 of compressed-tensors and ModelOpt |
//! | [`marlin`] | `B` and `s` in the order of the Marlin kernel |
//! | [`mlx`] | affine groups, `mxfp4`, `mxfp8` and `nvfp4` of MLX |
//! | [`hqq`] | the tensors of HQQ layers |
//! | [`quanto`] | the tensors of Quanto's qint and qfloat8 weights |
//! | [`checkpoint`] | all of these, recognized in a file or folder ([`open`]) |
//!
//! Codes and scales are copied exactly, never converted to real numbers in between, so [`PackedWeights::dequantize`] gives the
//! values of the format's definition. A conversion needs the memory of its result and one row per thread. With a mapped file
//! ([`map`]), a tensor larger than half the memory can be imported.
//!
//! Files may be truncated, corrupt or hostile. Every size is compared with the bytes that are present before memory is
//! allocated. A mismatch is an [`Error::Request`](crate::Error::Request) that says how to mend it.

mod activations;
pub mod awq;
pub mod bitsandbytes;
pub mod checkpoint;
pub mod compressed_tensors;
pub mod float4;
pub mod float8;
pub mod gguf;
pub mod gptq;
pub mod hqq;
pub mod marlin;
pub mod mlx;
pub mod onnx;
pub mod quanto;
mod safetensors;
pub mod torchao;

use half::{bf16, f16};

use crate::error::{Result, refuse, require};
use crate::numeric::{E4M3FN, E5M2, E8M0};
use crate::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
pub use activations::Activations;
#[cfg(not(target_arch = "wasm32"))]
pub use checkpoint::open;
pub use safetensors::Safetensors;

/// The element type of an array in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// Unsigned 8-bit integers, or packed codes.
    Uint8,
    /// 8-bit integers in two's complement, or packed codes.
    Int8,
    /// 32-bit integers in two's complement, or packed codes.
    Int32,
    /// 64-bit integers in two's complement.
    Int64,
    /// IEEE half precision.
    Float16,
    /// The upper half of an f32.
    Bfloat16,
    /// IEEE single precision.
    Float32,
    /// 4-bit floats, two to a byte, low half first.
    Float4E2M1,
    /// 8-bit floats up to 448.
    Float8E4M3,
    /// 8-bit floats up to 57,344 and infinity.
    Float8E5M2,
    /// Powers of two: 2^(byte − 127).
    Float8E8M0,
}

impl ElementType {
    /// Bits of one number.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Float4E2M1 => 4,
            Self::Uint8 | Self::Int8 | Self::Float8E4M3 | Self::Float8E5M2 | Self::Float8E8M0 => 8,
            Self::Float16 | Self::Bfloat16 => 16,
            Self::Int32 | Self::Float32 => 32,
            Self::Int64 => 64,
        }
    }

    /// Bytes of one number; 1 for 4-bit floats, too.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// True for floating-point types of 16 and 32 bits.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::Bfloat16 | Self::Float32)
    }
}

/// An array as it is stored in a file: little-endian, row-major. It borrows the bytes.
///
/// ```
/// use lowbit::import::{Array, ElementType};
/// let scales = Array::new(ElementType::Float16, [1, 2], &[0x00, 0x3c, 0x00, 0x38])?; // 1.0, 0.5
/// assert_eq!(scales.shape(), [1, 2]);
/// assert!(Array::new(ElementType::Float16, [1, 3], &[0; 4]).is_err());
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Array<'a> {
    element_type: ElementType,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// An array of these bytes.
    ///
    /// # Errors
    /// If the number of bytes doesn't fit the shape.
    pub fn new(element_type: ElementType, shape: impl Into<Vec<usize>>, bytes: &'a [u8]) -> Result<Self> {
        let shape = shape.into();
        // Products with a dimension of 0 may overflow before they come to it.
        let needed = match shape.contains(&0) {
            true => Some(0),
            false => shape.iter().try_fold(element_type.bits(), |product, &d| product.checked_mul(d)),
        };
        let needed = needed.filter(|bits| bits % 8 == 0).map(|bits| bits / 8);
        require!(
            needed == Some(bytes.len()),
            "{element_type:?} {shape:?} doesn't take the {} bytes that were given: give all of the array, and nothing else",
            bytes.len()
        );
        Ok(Self { element_type, shape, bytes })
    }

    /// The type of the elements.
    #[must_use]
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The dimensions.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The same bytes as numbers of another type with as many bits.
    fn cast(&self, element_type: ElementType) -> Self {
        Self { element_type, ..self.clone() }
    }

    /// Number of numbers.
    fn len(&self) -> usize {
        self.bytes.len() * 8 / self.element_type.bits()
    }

    fn at<const N: usize>(&self, index: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[index * N..][..N]);
        bytes
    }

    /// The number at position `index`, exact for floats.
    fn float(&self, index: usize) -> f32 {
        match self.element_type {
            ElementType::Float16 => f16::from_le_bytes(self.at(index)).to_f32(),
            ElementType::Bfloat16 => bf16::from_le_bytes(self.at(index)).to_f32(),
            ElementType::Float32 => f32::from_le_bytes(self.at(index)),
            ElementType::Float8E4M3 => E4M3FN::from_bits(self.bytes[index]).to_f32(),
            ElementType::Float8E5M2 => E5M2::from_bits(self.bytes[index]).to_f32(),
            ElementType::Float8E8M0 => E8M0::from_bits(self.bytes[index]).to_f32(),
            _ => self.integer(index) as f32,
        }
    }

    /// The integer at position `index`.
    fn integer(&self, index: usize) -> i64 {
        match self.element_type {
            ElementType::Int8 => i64::from(self.bytes[index] as i8),
            ElementType::Int32 => i64::from(i32::from_le_bytes(self.at(index))),
            ElementType::Int64 => i64::from_le_bytes(self.at(index)),
            _ => i64::from(self.bytes[index]),
        }
    }

    /// The 32-bit word at position `index`.
    fn word(&self, index: usize) -> u32 {
        u32::from_le_bytes(self.at(index))
    }

    /// An error if the element type is not one of `types`.
    fn expect_type(&self, name: &str, types: &[ElementType]) -> Result<()> {
        require!(
            types.contains(&self.element_type),
            "{name} holds {:?}, but must hold {}",
            self.element_type,
            any_of(types)
        );
        Ok(())
    }

    /// An error if the shape is another.
    fn expect_shape(&self, name: &str, shape: &[usize]) -> Result<()> {
        require!(
            self.shape == shape,
            "{name} is {:?}, but the other arrays and the group size make it {shape:?}: give those of one layer, and the \
             group size of its configuration",
            self.shape
        );
        Ok(())
    }

    /// The dimensions of one or several matrices; an error if there are neither two nor three.
    fn matrices(&self, name: &str) -> Result<[usize; 3]> {
        match *self.shape {
            [n, k] => Ok([1, n, k]),
            [experts, n, k] => Ok([experts, n, k]),
            _ => refuse!("{name} is {:?}, but weights have two or three dimensions", self.shape),
        }
    }

    /// The dimensions of a matrix; an error if there aren't two.
    fn matrix(&self, name: &str) -> Result<[usize; 2]> {
        let dims = <[usize; 2]>::try_from(&self.shape[..]);
        require!(dims.is_ok(), "{name} is {:?}, but must have two dimensions", self.shape);
        Ok(dims.unwrap_or_default())
    }
}

/// `Float16, Bfloat16 or Float32`
fn any_of(types: &[ElementType]) -> String {
    let names: Vec<String> = types.iter().map(|of| format!("{of:?}")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// A name from a file for messages: in quotes, and cut after 100 characters.
fn quoted(name: &str) -> String {
    match name.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// The element types that scales may have.
const FLOATS: [ElementType; 3] = [ElementType::Float16, ElementType::Bfloat16, ElementType::Float32];

/// Code `index` of packed codes, `bits` each, low bits first. A code may span two words.
fn code_at(word: impl Fn(usize) -> u32, bits: usize, index: usize) -> u32 {
    let (first, shift) = (index * bits / 32, index * bits % 32);
    let low = word(first) >> shift;
    let spilled = shift + bits > 32;
    let value = if spilled { low | word(first + 1) << (32 - shift) } else { low };
    value & ((1 << bits) - 1)
}

/// The narrowest format that holds scales of this type and these zero points exactly.
fn scales_with_zeros(scales: ElementType, zeros: impl Iterator<Item = i64>) -> ScaleFormat {
    let (mut least, mut greatest) = (0, 0);
    zeros.for_each(|zero| (least, greatest) = (zero.min(least), zero.max(greatest)));
    match (scales == ElementType::Float16, least < -128 || greatest > 127) {
        (_, true) => ScaleFormat::F32RealZero,
        (true, _) if least == greatest => ScaleFormat::F16,
        (true, _) => ScaleFormat::F16Zero,
        (false, _) if least == greatest => ScaleFormat::F32,
        (false, _) => ScaleFormat::F32Zero,
    }
}

/// The narrowest codes for integers of this many bits.
fn integers(bits: usize, unsigned: bool) -> Result<Codes> {
    Ok(match (bits, unsigned) {
        (1 | 2, false) => Codes::INT2,
        (3, false) => Codes::INT3,
        (4, false) => Codes::INT4,
        (5, false) => Codes::INT5,
        (6, false) => Codes::INT6,
        (7 | 8, false) => Codes::INT8,
        (1 | 2, true) => Codes::UINT2,
        (3, true) => Codes::UINT3,
        (4, true) => Codes::UINT4,
        (5, true) => Codes::UINT5,
        (6, true) => Codes::UINT6,
        (7 | 8, true) => Codes::UINT8,
        _ => refuse!(
            "codes of {bits} bits, but integers of 1 to 8 are known: give the number of bits of the configuration"
        ),
    })
}

/// The format of scales of this type alone.
fn plain_scales(scales: ElementType) -> ScaleFormat {
    match scales {
        ElementType::Float16 => ScaleFormat::F16,
        ElementType::Float8E8M0 => ScaleFormat::E8M0,
        _ => ScaleFormat::F32,
    }
}

/// The format of scales with offsets of these types.
fn scales_with_offsets(types: [ElementType; 2]) -> ScaleFormat {
    if types == [ElementType::Float16; 2] { ScaleFormat::F16Offset } else { ScaleFormat::F32Offset }
}

/// An error if the matrices would take far more memory than their input. Padding enlarges a matrix of one column or one row
/// many times, so a small file could claim much memory.
fn check_size(input: usize, format: WeightFormat, dims: [usize; 3]) -> Result<()> {
    let packed = PackedWeights::packed_bytes(format, dims)?;
    let allowed = input.saturating_mul(2).saturating_add(32 << 20);
    require!(
        packed <= allowed,
        "{} bytes of {format} {dims:?} would take {packed} bytes in memory, padded for kernels: matrices so narrow \
         belong into a plain tensor",
        input
    );
    Ok(())
}

/// [`PackedWeights::build`] with a bound on memory; `input` is the number of bytes to convert.
fn build(
    input: usize,
    format: WeightFormat,
    dims: [usize; 3],
    row: impl Fn(usize, &mut [i8], &mut [GroupParams], &mut [GroupParams]) -> Result<()> + Sync,
) -> Result<PackedWeights> {
    check_size(input, format, dims)?;
    PackedWeights::build(format, dims, finite(row))
}

/// An error unless the index has an integer for each of k columns.
fn check_index(index: &Array<'_>, k: usize) -> Result<()> {
    index.expect_type("g_idx", &[ElementType::Int32, ElementType::Int64])?;
    index.expect_shape("g_idx", &[k])
}

/// [`PackedWeights::build_indexed`] with a bound on memory. The index holds the group of each column. Without an index it is
/// [`build`].
fn build_indexed(
    input: usize,
    format: WeightFormat,
    dims: [usize; 3],
    index: Option<&Array<'_>>,
    row: impl Fn(usize, &mut [i8], &mut [GroupParams], &mut [GroupParams]) -> Result<()> + Sync,
) -> Result<PackedWeights> {
    let Some(index) = index else { return build(input, format, dims, row) };
    let k = dims[2];
    check_index(index, k)?;
    check_size(input, format, dims)?;
    let group = format.group.min(k.max(1));
    let mut members = vec![0usize; k.div_ceil(group)];
    let mut groups = vec![0u32; k];
    for (l, of) in groups.iter_mut().enumerate() {
        let g = index.integer(l);
        let known = usize::try_from(g).ok().filter(|&g| g < members.len());
        require!(known.is_some(), "g_idx puts column {l} into group {g}, but there are {} groups", members.len());
        let g = known.unwrap_or_default();
        members[g] += 1;
        require!(
            members[g] <= group,
            "g_idx puts more than {group} columns into group {g}: give the group size that it was made with, or no g_idx if \
             columns are in order"
        );
        *of = g as u32;
    }
    PackedWeights::build_indexed(format, dims, &groups, finite(row))
}

/// Wraps `row` in a check that all scales and shifts are finite.
fn finite(
    row: impl Fn(usize, &mut [i8], &mut [GroupParams], &mut [GroupParams]) -> Result<()> + Sync,
) -> impl Fn(usize, &mut [i8], &mut [GroupParams], &mut [GroupParams]) -> Result<()> + Sync {
    move |index, codes, groups, supers| {
        row(index, codes, groups, supers)?;
        let odd = groups.iter().chain(supers.iter()).find(|g| !(g.scale.is_finite() && g.shift.is_finite()));
        if let Some(odd) = odd {
            require!(
                false,
                "row {index} has a scale of {} with {} beside it: the file is damaged, or not of the format it is read as",
                odd.scale,
                odd.shift
            );
        }
        Ok(())
    }
}

/// The bytes of a file, mapped into memory. Pages are read on first access and may be dropped again.
///
/// # Errors
/// If the file can't be opened or mapped.
///
/// # Safety
/// Until the map is dropped, nobody may change or truncate the file, because the program treats its bytes as ordinary memory.
#[cfg(not(target_arch = "wasm32"))]
#[allow(unsafe_code, reason = "the caller vouches for the file")]
pub unsafe fn map(path: impl AsRef<std::path::Path>) -> Result<memmap2::Mmap> {
    let path = path.as_ref();
    // SAFETY: the caller guarantees it, as the documentation demands.
    let mapped = std::fs::File::open(path).and_then(|file| unsafe { memmap2::Mmap::map(&file) });
    mapped.map_err(|error| crate::Error::Request(format!("{} can't be mapped: {error}", path.display())))
}
