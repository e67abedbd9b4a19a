//! Writes GGUF files, version 3, little-endian, tensor by tensor. `file` draws the layout and reads it.

use std::collections::HashSet;
use std::fmt;
use std::io::Write;

use super::file::{ALIGNMENT, GgufFile, MAX_DEPTH, MAX_RANK};
use super::{GgufType, file};
use crate::error::{Error, Result, refuse, require};
use crate::import::{ElementType, quoted};

/// The longest key of the format, in bytes.
const LONGEST_KEY: usize = 0xffff;

/// The longest name of a tensor that ggml reads, in bytes.
const LONGEST_NAME: usize = 63;

/// A metadata value for [`GgufWriter`], of exactly the Rust type that it is made from: integers of 8 to 64 bits, `f32`, `f64`,
/// `bool`, text, and arrays of them.
///
/// ```
/// use lowbit::import::gguf::GgufValue;
/// let layers = GgufValue::from(32u32);
/// let name = GgufValue::from("a name");
/// let tokens = GgufValue::from(["<s>", "</s>"]);
/// let scores = GgufValue::from(vec![0.5f32; 100]);
/// let nested = GgufValue::array([tokens.clone(), GgufValue::from(vec!["x".to_string()])])?;
/// assert!(GgufValue::array([layers, name]).is_err()); // one type for all
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GgufValue {
    /// The number of the value's type in files.
    kind: u32,
    /// Depth of arrays: 0 for a value that is none.
    depth: usize,
    bytes: Vec<u8>,
}

/// The type number of texts.
const TEXT: u32 = 8;
/// The type number of arrays.
const ARRAY: u32 = 9;

/// Rust types that are values of one type number.
trait Plain {
    const KIND: u32;
    fn put(&self, out: &mut Vec<u8>);
}

impl Plain for bool {
    const KIND: u32 = 7;
    fn put(&self, out: &mut Vec<u8>) {
        out.push((*self).into());
    }
}

impl Plain for &str {
    const KIND: u32 = TEXT;
    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self);
    }
}

impl Plain for String {
    const KIND: u32 = TEXT;
    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self);
    }
}

/// `Plain` for numbers.
macro_rules! plain_numbers {
    ($($number:ty = $kind:literal),*) => {$(
        impl Plain for $number {
            const KIND: u32 = $kind;
            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
        }
    )*};
}

/// Conversions of values and arrays of them.
macro_rules! values {
    ($($plain:ty),*) => {$(
        impl From<$plain> for GgufValue {
            fn from(value: $plain) -> Self {
                let mut bytes = Vec::new();
                value.put(&mut bytes);
                Self { kind: <$plain>::KIND, depth: 0, bytes }
            }
        }

        impl From<&[$plain]> for GgufValue {
            fn from(values: &[$plain]) -> Self {
                Self::of_array(<$plain>::KIND, 1, values.len(), |bytes| values.iter().for_each(|value| value.put(bytes)))
            }
        }

        impl From<Vec<$plain>> for GgufValue {
            fn from(values: Vec<$plain>) -> Self {
                Self::from(&values[..])
            }
        }

        impl<const N: usize> From<[$plain; N]> for GgufValue {
            fn from(values: [$plain; N]) -> Self {
                Self::from(&values[..])
            }
        }
    )*};
}

plain_numbers!(u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, u64 = 10, i64 = 11, f64 = 12);
values!(u8, i8, u16, i16, u32, i32, f32, bool, &str, String, u64, i64, f64);

impl GgufValue {
    /// An array of values of one type, such as arrays.
    ///
    /// # Errors
    /// If there are no values (an empty `Vec` of a Rust type says the type), their types differ, or arrays are nested more than
    /// four deep.
    pub fn array(values: impl IntoIterator<Item = Self>) -> Result<Self> {
        let values: Vec<Self> = values.into_iter().collect();
        let Some(first) = values.first() else {
            refuse!("an array of no values has no type: convert an empty vector, such as Vec::<u32>::new()");
        };
        let name = |kind: u32| file::type_name(kind);
        let odd = values.iter().find(|value| value.kind != first.kind);
        require!(
            odd.is_none(),
            "an array has values of the types {} and {}: take one type for all",
            name(first.kind),
            name(odd.map_or(0, |value| value.kind))
        );
        let depth = 1 + values.iter().map(|value| value.depth).max().unwrap_or_default();
        require!(depth <= MAX_DEPTH, "arrays are nested {depth} deep, but readers know {MAX_DEPTH}: make them flatter");
        let put = |bytes: &mut Vec<u8>| values.iter().for_each(|value| bytes.extend(&value.bytes));
        Ok(Self::of_array(first.kind, depth, values.len(), put))
    }

    fn of_array(kind: u32, depth: usize, count: usize, put: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((count as u64).to_le_bytes());
        put(&mut bytes);
        Self { kind: ARRAY, depth, bytes }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The type of a tensor in a GGUF file: [`GgufType`], or [`ElementType`] of floats (F32, F16, BF16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GgufTensorType {
    /// Blocks of codes.
    Quantized(GgufType),
    /// Plain numbers. Only floats can be written.
    Plain(ElementType),
}

impl fmt::Display for GgufTensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantized(known) => known.fmt(f),
            Self::Plain(element) => match file::float_name(*element) {
                Some(name) => f.write_str(name),
                None => write!(f, "{element:?}"),
            },
        }
    }
}

impl From<GgufType> for GgufTensorType {
    fn from(gguf_type: GgufType) -> Self {
        Self::Quantized(gguf_type)
    }
}

impl From<ElementType> for GgufTensorType {
    fn from(element_type: ElementType) -> Self {
        Self::Plain(element_type)
    }
}

/// Describes a GGUF file, and writes it: first metadata and tensors by name, type and shape, then [`begin`](Self::begin), then
/// the data of each tensor in that order.
///
/// ```
/// use lowbit::import::ElementType;
/// use lowbit::import::gguf::{GgufFile, GgufQuantizer, GgufType, GgufWriter};
///
/// let mut writer = GgufWriter::new();
/// writer.value("general.architecture", "llama")?;
/// writer.value("llama.block_count", 1u32)?;
/// writer.value("tokenizer.ggml.tokens", ["<s>", "</s>"])?;
/// writer.tensor("blk.0.ffn_down.weight", GgufType::Q4_K, [2, 256])?; // n rows of k, innermost last
/// writer.tensor("blk.0.ffn_norm.weight", ElementType::Float32, [3])?;
///
/// let mut data = writer.begin(Vec::new())?; // a file, better within a std::io::BufWriter
/// let weights: Vec<f32> = (0..512).map(|i| (i as f32).sin()).collect();
/// data.tensor("blk.0.ffn_down.weight", &GgufQuantizer::new(GgufType::Q4_K).quantize(&weights)?)?;
/// data.tensor("blk.0.ffn_norm.weight", &[1.0f32, 2.0, 3.0].map(f32::to_le_bytes).concat())?;
/// let bytes = data.finish()?;
///
/// let file = GgufFile::parse(&bytes)?;
/// assert_eq!(file.metadata().count(), 3);
/// assert_eq!(file.tensor("blk.0.ffn_norm.weight")?.floats()?.values::<f32>()?, [1.0, 2.0, 3.0]);
/// assert_eq!(file.tensor("blk.0.ffn_down.weight")?.weights()?.dims(), [1, 2, 256]);
/// # Ok::<(), lowbit::Error>(())
/// ```
///
/// Only descriptions are kept in memory. Each tensor begins at a multiple of the alignment, and zeros fill the file up to a
/// multiple after the last one, as ggml expects.
///
/// A model in several files has the keys `split.no` (u16, from 0), `split.count` (u16) and `split.tensors.count` (i32, of all
/// files) in each, and its other metadata in the first one. [`GgufModel`](super::GgufModel) reads it.
///
/// Source: `docs/gguf.md` in the repository `ggml-org/ggml`.
#[derive(Debug, Clone)]
pub struct GgufWriter {
    pairs: Vec<u8>,
    keys: HashSet<String>,
    /// The file's position of each description is after all pairs.
    descriptions: Vec<u8>,
    tensors: Vec<Described>,
    names: HashSet<String>,
    alignment: u64,
    /// Bytes of the data so far, a multiple of the alignment.
    data: u64,
}

/// A tensor that is to be written.
#[derive(Debug, Clone)]
struct Described {
    name: String,
    bytes: u64,
}

impl Default for GgufWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl GgufWriter {
    /// A file without metadata and tensors, with an alignment of 32 bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pairs: Vec::new(),
            keys: HashSet::new(),
            descriptions: Vec::new(),
            tensors: Vec::new(),
            names: HashSet::new(),
            alignment: 32,
            data: 0,
        }
    }

    /// Sets the alignment of tensors, and writes it as `general.alignment`. Call it before [`tensor`](Self::tensor).
    ///
    /// # Errors
    /// If it is not a power of two from 8 to 65536, was set before, or there are tensors already.
    pub fn alignment(&mut self, bytes: u32) -> Result<&mut Self> {
        require!(
            bytes.is_power_of_two() && (8..=0x1_0000).contains(&bytes),
            "an alignment of {bytes} bytes: take a power of two from 8 to 65536"
        );
        self.align(bytes)
    }

    /// Sets an alignment that readers know.
    fn align(&mut self, bytes: u32) -> Result<&mut Self> {
        require!(
            self.tensors.is_empty(),
            "the alignment is set after the tensor {}: set it before the tensors",
            quoted(&self.tensors[0].name)
        );
        self.pair(ALIGNMENT, 4, &bytes.to_le_bytes())?;
        self.alignment = bytes.into();
        Ok(self)
    }

    /// Adds a metadata value.
    ///
    /// # Errors
    /// If the key is empty, longer than 65,535 bytes, there already, or `general.alignment`, which
    /// [`alignment`](Self::alignment) sets.
    pub fn value(&mut self, key: &str, value: impl Into<GgufValue>) -> Result<&mut Self> {
        require!(key != ALIGNMENT, "{ALIGNMENT} is not a plain value: call GgufWriter::alignment");
        let value = value.into();
        self.pair(key, value.kind, &value.bytes)?;
        Ok(self)
    }

    /// Adds the metadata of a file, with their types, and takes its alignment, of 1 to 65536 bytes. It leaves out keys that are
    /// there already, so values set before replace those of the file, and the keys of split files (`split.no`, `split.count`,
    /// `split.tensors.count`).
    ///
    /// # Errors
    /// If there are tensors already, and the file has an alignment.
    pub fn metadata(&mut self, file: &GgufFile<'_>) -> Result<&mut Self> {
        for pair in file.raw_metadata() {
            match pair.key {
                key if self.keys.contains(key) || super::split::KEYS.contains(&key) => {}
                ALIGNMENT => {
                    self.align(u32::from_le_bytes(pair.value.try_into().unwrap_or_default()))?;
                }
                key => self.pair(key, pair.kind, pair.value)?,
            }
        }
        Ok(self)
    }

    fn pair(&mut self, key: &str, kind: u32, value: &[u8]) -> Result<()> {
        require!(
            (1..=LONGEST_KEY).contains(&key.len()),
            "the key {} has {} bytes, but keys have 1 to {LONGEST_KEY}",
            quoted(key),
            key.len()
        );
        require!(self.keys.insert(key.to_string()), "there is a value for {} already: give each key once", quoted(key));
        put_text(&mut self.pairs, key);
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend(value);
        Ok(())
    }

    /// Adds a tensor of this type and shape, innermost dimension last (the file stores it first). Its data come later, in the
    /// order in which tensors were added.
    ///
    /// # Errors
    /// If the name is empty, longer than 63 bytes (ggml's limit) or there already, the type is no float and not quantized, there
    /// are more than 4 dimensions, rows don't fill whole blocks, or the data would be more than 2⁶³ bytes.
    pub fn tensor(
        &mut self,
        name: &str,
        tensor_type: impl Into<GgufTensorType>,
        shape: impl AsRef<[usize]>,
    ) -> Result<&mut Self> {
        let (tensor_type, shape) = (tensor_type.into(), shape.as_ref());
        require!(
            (1..=LONGEST_NAME).contains(&name.len()),
            "the tensor name {} has {} bytes, but ggml reads names of 1 to {LONGEST_NAME}",
            quoted(name),
            name.len()
        );
        require!(
            shape.len() <= MAX_RANK as usize,
            "the tensor {} has {} dimensions, but GGUF files have at most {MAX_RANK}",
            quoted(name),
            shape.len()
        );
        let (id, block, block_bytes) = match tensor_type {
            GgufTensorType::Quantized(known) => (known.id(), known.block(), known.block_bytes()),
            GgufTensorType::Plain(element) => {
                let Some(id) = file::float_id(element) else {
                    refuse!(
                        "the tensor {} is in {element:?}, but only Float32, Float16, Bfloat16 and quantized types can be written",
                        quoted(name)
                    );
                };
                (id, 1, element.bytes())
            }
        };
        let k = shape.last().copied().unwrap_or(1);
        require!(
            k % block == 0,
            "the tensor {} has rows of {k} numbers, but {tensor_type} has whole blocks of {block}: fill up rows, or take another \
             type",
            quoted(name)
        );
        let count = shape.iter().try_fold(1u64, |count, &d| count.checked_mul(d as u64));
        let bytes = count.and_then(|count| (count / block as u64).checked_mul(block_bytes as u64));
        // Products with a dimension of 0 may overflow before they come to it.
        let bytes = if shape.contains(&0) { Some(0) } else { bytes };
        let end = bytes.and_then(|bytes| self.data.checked_add(bytes)?.checked_next_multiple_of(self.alignment));
        let fits = |&end: &u64| file::is_countable(shape) && end <= i64::MAX as u64;
        let (Some(bytes), Some(end)) = (bytes, end.filter(fits)) else {
            refuse!("the tensor {} {shape:?} is larger than a file can be", quoted(name));
        };
        require!(
            self.names.insert(name.to_string()),
            "there is a tensor {} already: give each name once",
            quoted(name)
        );
        put_text(&mut self.descriptions, name);
        self.descriptions.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|&d| self.descriptions.extend((d as u64).to_le_bytes()));
        self.descriptions.extend(id.to_le_bytes());
        self.descriptions.extend(self.data.to_le_bytes());
        self.tensors.push(Described { name: name.to_string(), bytes });
        self.data = end;
        Ok(self)
    }

    /// Writes everything before the data. The tensors' data follow.
    ///
    /// # Errors
    /// If writing fails.
    pub fn begin<W: Write>(self, mut out: W) -> Result<GgufDataWriter<W>> {
        let mut head = b"GGUF\x03\0\0\0".to_vec();
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend((self.keys.len() as u64).to_le_bytes());
        let length = (head.len() + self.pairs.len() + self.descriptions.len()) as u64;
        for part in [&head, &self.pairs, &self.descriptions] {
            out.write_all(part).map_err(failed)?;
        }
        let mut data = GgufDataWriter {
            out,
            tensors: self.tensors,
            alignment: self.alignment,
            next: 0,
            written: 0,
            broken: false,
        };
        data.pad(length)?;
        Ok(data)
    }
}

/// The error of a write that failed.
fn failed(error: std::io::Error) -> Error {
    Error::Request(format!("the GGUF file can't be written: {error}"))
}

/// A GGUF file whose data are being written, from [`GgufWriter::begin`].
#[derive(Debug)]
pub struct GgufDataWriter<W> {
    out: W,
    tensors: Vec<Described>,
    alignment: u64,
    /// The tensor that is being written.
    next: usize,
    /// Its bytes so far.
    written: u64,
    /// True after a write that failed: an unknown part of it may be in the file.
    broken: bool,
}

impl<W: Write> GgufDataWriter<W> {
    /// Writes the bytes of a tensor: blocks of its type, or little-endian floats, row-major.
    ///
    /// # Errors
    /// As [`part`](Self::part), or if these are not all bytes of the tensor.
    pub fn tensor(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let left = self.left(name)?;
        require!(
            bytes.len() as u64 == left,
            "the tensor {} needs {left} bytes, but {} were given: give all bytes of its type and shape, or parts with \
             GgufDataWriter::part",
            quoted(name),
            bytes.len()
        );
        self.part(name, bytes)
    }

    /// Writes the next bytes of a tensor, which may be too large to be in memory at once.
    ///
    /// # Errors
    /// If the tensor is not the next one in the order of [`GgufWriter::tensor`], the bytes are more than it has left, or writing
    /// fails now or failed before.
    pub fn part(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let left = self.left(name)?;
        require!(
            bytes.len() as u64 <= left,
            "the tensor {} has {left} bytes left, but {} were given",
            quoted(name),
            bytes.len()
        );
        self.write(bytes)?;
        self.written += bytes.len() as u64;
        if bytes.len() as u64 == left {
            self.pad(self.written)?;
            (self.next, self.written) = (self.next + 1, 0);
        }
        Ok(())
    }

    /// The bytes that are missing of the next tensor, which must have this name.
    fn left(&self, name: &str) -> Result<u64> {
        let Some(next) = self.tensors.get(self.next) else {
            refuse!("{} comes after the last tensor: add it to the GgufWriter before the data", quoted(name));
        };
        require!(
            next.name == name,
            "the next tensor is {}, but data of {} were given: give them in the order in which tensors were added",
            quoted(&next.name),
            quoted(name)
        );
        Ok(next.bytes - self.written)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        require!(!self.broken, "a write to the GGUF file failed before: begin again with a new file");
        let done = self.out.write_all(bytes);
        self.broken = done.is_err();
        done.map_err(failed)
    }

    /// Writes zeros from `length` to the next multiple of the alignment.
    fn pad(&mut self, length: u64) -> Result<()> {
        let zeros = length.next_multiple_of(self.alignment) - length;
        self.write(&vec![0; zeros as usize])
    }

    /// Ends the file and returns the place that it was written to.
    ///
    /// # Errors
    /// If a tensor's data are missing, or writing fails now or failed before.
    pub fn finish(mut self) -> Result<W> {
        if let Some(next) = self.tensors.get(self.next) {
            refuse!(
                "the data of {} tensors are missing, from {} on, of which {} of {} bytes were written",
                self.tensors.len() - self.next,
                quoted(&next.name),
                self.written,
                next.bytes
            );
        }
        self.write(&[])?;
        self.out.flush().map_err(failed)?;
        Ok(self.out)
    }
}
