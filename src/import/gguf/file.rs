//! GGUF files, versions 2 and 3, little-endian: a strict reader that borrows the bytes and stores nothing else. It finds
//! metadata and tensors. Metadata are interpreted by programs that run models.
//!
//! ```text
//! "GGUF", u32 version, u64 tensors, u64 pairs
//! pairs      string key, u32 type, value               string = u64 length, bytes; array = u32 type, u64 count, values
//! tensors    string name, u32 rank, u64 dimensions (innermost first), u32 type, u64 offset
//! data       from the next multiple of the alignment on (general.alignment, else 32), tensors at their offsets
//! ```

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;

use super::{GgufTensorType, GgufType, format_of, weights, weights_as};
use crate::error::{Error, Result, refuse, require};
use crate::import::{Array, ElementType, quoted};
use crate::tensor::Tensor;
use crate::weights::PackedWeights;

/// The key of the alignment.
pub(super) const ALIGNMENT: &str = "general.alignment";

/// Greatest depth of arrays in arrays.
pub(super) const MAX_DEPTH: usize = 4;

/// Greatest number of dimensions of a tensor.
pub(super) const MAX_RANK: u32 = 4;

/// A GGUF file. It borrows the bytes, which may be a [map](crate::import::map()).
///
/// ```no_run
/// use lowbit::import::{self, gguf::GgufFile};
/// // SAFETY: nobody changes the file meanwhile.
/// let bytes = unsafe { import::map("model.gguf")? };
/// let file = GgufFile::parse(&bytes)?;
/// for tensor in file.tensors() {
///     println!("{} {:?} {}", tensor.name(), tensor.shape(), tensor.type_name());
/// }
/// let weights = file.tensor("blk.0.ffn_down.weight")?.weights()?;
/// # Ok::<(), lowbit::Error>(())
/// ```
///
/// Source: `docs/gguf.md` in the repository `ggml-org/ggml`.
#[derive(Debug, Clone, Copy)]
pub struct GgufFile<'a> {
    bytes: &'a [u8],
    pairs: u64,
    tensors: u64,
    /// Offset of the tensor descriptions.
    descriptions: usize,
    /// Offset of the data.
    data: usize,
}

/// A metadata value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// An unsigned integer of 8 to 64 bits.
    Unsigned(u64),
    /// A signed integer of 8 to 64 bits.
    Signed(i64),
    /// An f32 or f64.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// An array.
    Array(GgufArray<'a>),
}

/// An array among the metadata of a GGUF file: the tokens of a vocabulary, their scores, ….
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GgufArray<'a> {
    kind: u32,
    count: u64,
    depth: usize,
    bytes: &'a [u8],
}

impl<'a> GgufArray<'a> {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// True if there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values, in order.
    ///
    /// ```no_run
    /// # fn tokens(file: &lowbit::import::gguf::GgufFile<'_>) -> Option<Vec<String>> {
    /// use lowbit::import::gguf::Value;
    /// let (_, Value::Array(tokens)) = file.metadata().find(|(key, _)| *key == "tokenizer.ggml.tokens")? else { return None };
    /// let text = |value| if let Value::Text(text) = value { text.to_string() } else { String::new() };
    /// Some(tokens.values().map(text).collect())
    /// # }
    /// ```
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (mut reader, kind, depth) = (Reader { bytes: self.bytes, at: 0 }, self.kind, self.depth);
        (0..self.count).map_while(move |_| reader.value(kind, depth).ok())
    }
}

/// A tensor of a GGUF file.
#[derive(Debug, Clone, Copy)]
pub struct GgufTensor<'a> {
    name: &'a str,
    rank: usize,
    /// Innermost first, as in the file.
    dims: [usize; MAX_RANK as usize],
    type_id: u32,
    /// The offset of its data in the file.
    at: usize,
    /// The file from the beginning of the tensor's data to the end.
    data: &'a [u8],
}

/// A metadata pair, undecoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawPair<'a> {
    /// Its first byte, and the first byte after it.
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) key: &'a str,
    /// The number of the value's type.
    pub(super) kind: u32,
    pub(super) value: &'a [u8],
}

/// A position in the file.
#[derive(Debug, Clone)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let Some(taken) = taken else {
            refuse!(
                "the GGUF file ends at byte {}, but {count} bytes are expected from byte {} on: it is truncated or damaged, \
                 download it again",
                self.bytes.len(),
                self.at
            );
        };
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str> {
        let (at, length) = (self.at, self.u64()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| {
            Error::Request(format!("the GGUF file has a text at byte {at} that is not UTF-8: it is damaged"))
        })
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value<'a>> {
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>()?[0].into()),
            1 => Value::Signed((self.array::<1>()?[0] as i8).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 => {
                let (kind, count) = (self.u32()?, self.u64()?);
                require!(depth < MAX_DEPTH, "the GGUF file has arrays in arrays at byte {}: it is damaged", self.at);
                let start = self.at;
                match fixed_bytes(kind) {
                    Some(bytes) => drop(self.take(count.saturating_mul(bytes))?),
                    // Each value takes at least one byte, so a false count ends with the file.
                    None => (0..count).try_for_each(|_| self.value(kind, depth + 1).map(drop))?,
                }
                Value::Array(GgufArray { kind, count, depth: depth + 1, bytes: &self.bytes[start..self.at] })
            }
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => {
                let at = self.at;
                refuse!("the GGUF file has a value of type {kind} at byte {at}: it is damaged");
            }
        })
    }

    fn pair(&mut self) -> Result<(&'a str, Value<'a>)> {
        let key = self.text()?;
        let kind = self.u32()?;
        Ok((key, self.value(kind, 0)?))
    }

    /// A tensor's description, and the offset of its data.
    fn tensor(&mut self) -> Result<(GgufTensor<'a>, u64)> {
        let name = self.text()?;
        let rank = self.u32()?;
        require!(
            rank <= MAX_RANK,
            "the tensor {} has {rank} dimensions, but at most {MAX_RANK} are known",
            quoted(name)
        );
        let mut dimensions = [1; MAX_RANK as usize];
        for dimension in &mut dimensions[..rank as usize] {
            let size = self.u64()?;
            let known = usize::try_from(size).ok().filter(|&size| size <= i64::MAX as usize);
            require!(known.is_some(), "the tensor {} has a dimension of {size}: the file is damaged", quoted(name));
            *dimension = known.unwrap_or_default();
        }
        require!(
            is_countable(&dimensions),
            "the tensor {} has the dimensions {dimensions:?}, more than a file can hold: the file is damaged",
            quoted(name)
        );
        let (type_id, offset) = (self.u32()?, self.u64()?);
        Ok((GgufTensor { name, rank: rank as usize, dims: dimensions, type_id, at: 0, data: &[] }, offset))
    }
}

/// True if elements of these dimensions, those of 0 left out, can be counted: ggml refuses others, also without elements.
pub(super) fn is_countable(dims: &[usize]) -> bool {
    let fewer = |count: i64, &d: &usize| count.checked_mul(i64::try_from(d).ok()?);
    dims.iter().filter(|&&d| d != 0).try_fold(1, fewer).is_some()
}

/// The names of value types, by type number.
const TYPES: [&str; 13] =
    ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"];

/// The name of a value type.
pub(super) fn type_name(kind: u32) -> &'static str {
    TYPES.get(kind as usize).copied().unwrap_or_default()
}

/// The numbers of tensors' types that are plain floats.
const FLOATS: [(u32, ElementType, &str); 3] =
    [(0, ElementType::Float32, "F32"), (1, ElementType::Float16, "F16"), (30, ElementType::Bfloat16, "BF16")];

/// The number of a type of plain floats in files.
pub(super) fn float_id(element_type: ElementType) -> Option<u32> {
    FLOATS.into_iter().find(|(_, of, _)| *of == element_type).map(|(id, ..)| id)
}

/// The name of a type of plain floats.
pub(super) fn float_name(element_type: ElementType) -> Option<&'static str> {
    FLOATS.into_iter().find(|(_, of, _)| *of == element_type).map(|(.., name)| name)
}

/// The alignment of the data that a value of `general.alignment` demands.
fn alignment(kind: u32, value: Value<'_>) -> Result<usize> {
    let name = type_name(kind);
    let number = match value {
        Value::Signed(number) => format!(" ({number})"),
        Value::Unsigned(number) => format!(" ({number})"),
        _ => String::new(),
    };
    require!(
        name == "u32",
        "the GGUF file's general.alignment has the type {name}{number}, but the format makes it a u32: write the file with that type"
    );
    let known = if let Value::Unsigned(known) = value { known } else { 0 };
    require!(
        (1..=0x1_0000).contains(&known),
        "the GGUF file's general.alignment is {known}, but 1 to 65536 bytes are known: it is damaged, or from another program"
    );
    Ok(known as usize)
}

/// An error if two of the names at these offsets are equal. `what` describes the names in the error.
fn check_distinct(bytes: &[u8], what: &str, mut places: Vec<usize>) -> Result<()> {
    let name = |&at: &usize| Reader { bytes, at }.text().unwrap_or_default();
    places.sort_unstable_by_key(name);
    let twice = places.windows(2).find(|pair| name(&pair[0]) == name(&pair[1]));
    require!(
        twice.is_none(),
        "the GGUF file has two {what}{}: nobody can tell which is meant, write it with names that differ",
        quoted(twice.map_or("", |pair| name(&pair[0])))
    );
    Ok(())
}

/// The size of a value; `None` for types of variable size.
fn fixed_bytes(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

impl<'a> GgufFile<'a> {
    /// The file of these bytes. Reads everything before the data and checks that the data are complete.
    ///
    /// # Errors
    /// If it is not a GGUF file, has another version, is damaged or truncated, or has two tensors or two values of one name.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader { bytes, at: 0 };
        require!(bytes.starts_with(b"GGUF"), "this is no GGUF file: it doesn't begin with \"GGUF\"");
        reader.at = 4;
        let version = reader.u32()?;
        require!(
            !(2..=3).contains(&version.swap_bytes()),
            "the GGUF file has its big end first: convert it on the machine that made it"
        );
        require!(
            (2..=3).contains(&version),
            "the GGUF file has version {version}, but 2 and 3 are known: convert it again"
        );
        let (tensors, pairs) = (reader.u64()?, reader.u64()?);
        let (mut keys, mut names, mut aligned) = (Vec::new(), Vec::new(), 32);
        for _ in 0..pairs {
            keys.push(reader.at);
            let (key, kind) = (reader.text()?, reader.u32()?);
            let value = reader.value(kind, 0)?;
            if key == ALIGNMENT {
                aligned = alignment(kind, value)?;
            }
        }
        check_distinct(bytes, "values for ", keys)?;
        let descriptions = reader.at;
        for _ in 0..tensors {
            names.push(reader.at);
            reader.tensor()?;
        }
        check_distinct(bytes, "tensors ", names)?;
        // A file without data may end before the aligned offset.
        let data = reader.at.next_multiple_of(aligned).min(bytes.len());
        let file = Self { bytes, pairs, tensors, descriptions, data };
        file.each_tensor().try_for_each(|tensor| tensor?.bytes().map(drop))?;
        Ok(file)
    }

    /// The metadata, in the order of the file.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let mut reader = Reader { bytes: self.bytes, at: 24 };
        (0..self.pairs).map_while(move |_| reader.pair().ok())
    }

    /// The metadata, undecoded, in the order of the file.
    pub(super) fn raw_metadata(&self) -> impl Iterator<Item = RawPair<'a>> + use<'a> {
        let (file, mut at) = (*self, 24);
        (0..self.pairs).map_while(move |_| {
            let pair = file.raw_pair(at)?;
            at = pair.end;
            Some(pair)
        })
    }

    /// The key of the pair at this byte.
    pub(super) fn key_at(&self, at: usize) -> &'a str {
        Reader { bytes: self.bytes, at }.text().unwrap_or_default()
    }

    /// The pair at this byte.
    pub(super) fn raw_pair(&self, at: usize) -> Option<RawPair<'a>> {
        let mut reader = Reader { bytes: self.bytes, at };
        let (key, kind, start) = (reader.text().ok()?, reader.u32().ok()?, reader.at);
        reader.value(kind, 0).ok()?;
        Some(RawPair { at, end: reader.at, key, kind, value: &self.bytes[start..reader.at] })
    }

    /// Number of tensors.
    pub(super) fn tensor_count(&self) -> u64 {
        self.tensors
    }

    fn each_tensor(&self) -> impl Iterator<Item = Result<GgufTensor<'a>>> + use<'a> {
        let mut reader = Reader { bytes: self.bytes, at: self.descriptions };
        let (bytes, start_of_data) = (self.bytes, self.data);
        (0..self.tensors).map(move |_| {
            let (tensor, offset) = reader.tensor()?;
            let start = usize::try_from(offset).ok().and_then(|offset| start_of_data.checked_add(offset));
            let data = start.and_then(|start| bytes.get(start..));
            require!(
                data.is_some(),
                "the data of {} begin {offset} bytes into the data, but there are {}: the file is truncated or damaged",
                quoted(tensor.name),
                bytes.len() - start_of_data
            );
            Ok(GgufTensor { at: start.unwrap_or_default(), data: data.unwrap_or_default(), ..tensor })
        })
    }

    /// The tensors, in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = GgufTensor<'a>> + use<'a> {
        self.each_tensor().map_while(Result::ok)
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// If there is no such tensor.
    pub fn tensor(&self, name: &str) -> Result<GgufTensor<'a>> {
        let missing = || Error::Request(format!("the file has no tensor \"{name}\": take the name of one that it has"));
        self.tensors().find(|tensor| tensor.name == name).ok_or_else(missing)
    }
}

impl<'a> GgufTensor<'a> {
    /// The tensor's name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The dimensions, innermost last (a file stores them innermost first).
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.dims[..self.rank].iter().rev().copied().collect()
    }

    /// The number of the tensor's type in files.
    #[must_use]
    pub fn type_id(&self) -> u32 {
        self.type_id
    }

    /// The tensor's type, if it is a quantized type that is known here.
    #[must_use]
    pub fn gguf_type(&self) -> Option<GgufType> {
        GgufType::from_id(self.type_id)
    }

    /// The type of its numbers, if it is not quantized.
    fn element_type(&self) -> Option<ElementType> {
        FLOATS.into_iter().find(|(id, ..)| *id == self.type_id).map(|(_, element_type, _)| element_type)
    }

    /// The type of the tensor for a [`GgufWriter`](super::GgufWriter), if it is known here.
    #[must_use]
    pub fn tensor_type(&self) -> Option<GgufTensorType> {
        let plain = self.element_type().map(GgufTensorType::Plain);
        plain.or(self.gguf_type().map(GgufTensorType::Quantized))
    }

    /// The name of the tensor's type.
    #[must_use]
    pub fn type_name(&self) -> String {
        self.tensor_type().map_or_else(|| format!("type {}", self.type_id), |known| known.to_string())
    }

    /// Number of matrices, rows and columns.
    fn weight_dimensions(&self) -> Result<[usize; 3]> {
        let [k, n, experts, rest] = self.dims;
        require!(rest == 1, "{} is {:?}, but weights have at most three dimensions", quoted(self.name), self.shape());
        Ok([experts, n, k])
    }

    /// The tensor's bytes. If its type is not known here, all bytes from its data to the end of the file.
    ///
    /// # Errors
    /// If the file ends before the tensor's last byte.
    pub fn bytes(&self) -> Result<&'a [u8]> {
        let [k, n, experts, rest] = self.dims;
        let rows = n.checked_mul(experts).and_then(|rows| rows.checked_mul(rest));
        let plain = |bytes: usize| rows.and_then(|rows| rows.checked_mul(k)?.checked_mul(bytes));
        let needed = match (self.gguf_type(), self.element_type()) {
            (Some(known), _) => Some(known.bytes([1, rows.unwrap_or(usize::MAX), k])?),
            (None, Some(element)) => plain(element.bytes()),
            (None, None) => return Ok(self.data),
        };
        let bytes = needed.and_then(|needed| self.data.get(..needed));
        require!(
            bytes.is_some(),
            "{} {:?} in {} has {} bytes left in the file, and needs {}: the file is truncated or damaged, download it again",
            quoted(self.name),
            self.shape(),
            self.type_name(),
            self.data.len(),
            needed.map_or("more than can be addressed".to_string(), |needed| needed.to_string())
        );
        Ok(bytes.unwrap_or_default())
    }

    /// The numbers of a tensor that is not quantized: F32 as float32, F16 as float16, BF16 as float32, exactly.
    ///
    /// # Errors
    /// If it is of another type, or larger than a tensor can be.
    pub fn floats(&self) -> Result<Tensor> {
        let Some(element) = self.element_type() else {
            refuse!(
                "{} is in {}, which is not F32, F16 or BF16: quantized tensors are weights",
                quoted(self.name),
                self.type_name()
            );
        };
        let array = Array::new(element, self.shape(), self.bytes()?)?;
        let places = 0..array.shape().iter().product();
        match element {
            ElementType::Float16 => {
                Tensor::new(array.shape(), places.map(|i| f16::from_le_bytes(array.at(i))).collect::<Vec<f16>>())
            }
            _ => Tensor::new(array.shape(), places.map(|i| array.float(i)).collect::<Vec<f32>>()),
        }
    }

    /// The tensor's weights: `[n, k]`, or `[experts, n, k]`.
    ///
    /// # Errors
    /// As [`weights`], or if its type is not one of [`GgufType`].
    pub fn weights(&self) -> Result<PackedWeights> {
        let Some(known) = self.gguf_type() else {
            refuse!(
                "{} is in {}, which is no quantized type that is known here: see GgufType",
                quoted(self.name),
                self.type_name()
            );
        };
        weights(known, self.weight_dimensions()?, self.bytes()?)
    }

    /// As [`weights`](Self::weights), but [deferred](PackedWeights::deferred): the blocks are converted when a plan uploads them or a
    /// reference reads them, and host memory holds them no longer than that. `file` is the file that the tensor was parsed from, for
    /// instance mapped into memory; the weights share it. A file that changes meanwhile makes other weights.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use lowbit::import::gguf::{GgufFile, GgufTensorType, GgufType, GgufWriter, quantize};
    /// let mut writer = GgufWriter::new();
    /// writer.tensor("w", GgufTensorType::Quantized(GgufType::Q4_0), &[2, 32])?;
    /// let mut data = writer.begin(Vec::new())?;
    /// data.tensor("w", &quantize(GgufType::Q4_0, &[0.5; 64])?)?;
    /// let file: Arc<Vec<u8>> = Arc::new(data.finish()?);
    /// let weights = GgufFile::parse(&file)?.tensor("w")?.deferred_weights(&file)?;
    /// assert_eq!(weights.dequantize()?.values::<f32>()?, [0.5; 64]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the tensor is not in `file`, or its type is not one of [`GgufType`]. Numbers that no weights can hold are found when the
    /// blocks are converted.
    pub fn deferred_weights<F>(&self, file: &Arc<F>) -> Result<PackedWeights>
    where
        F: AsRef<[u8]> + Send + Sync + 'static,
    {
        let bytes = self.bytes()?;
        let whole = file.as_ref().as_ref();
        let first = bytes.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        require!(
            whole.get(first..first.saturating_add(bytes.len())).is_some_and(|part| part.as_ptr() == bytes.as_ptr()),
            "{} is not in these bytes: give those of the file that it was parsed from",
            quoted(self.name)
        );
        let file = file.clone();
        self.deferred(move |range| {
            let range = first + range.start..first + range.end;
            require!(
                file.as_ref().as_ref().get(range.clone()).is_some(),
                "the file has become shorter since its weights were deferred: leave it as it is"
            );
            Ok(Part { file: file.clone(), range })
        })
    }

    /// As [`deferred_weights`](Self::deferred_weights), but the blocks are read from `file` when they are needed, some megabytes at a
    /// time: nothing of the weights stays in host memory, not even as pages of a map, which may be dropped when all tensors were found.
    /// `file` holds the bytes that the tensor was parsed from, from its beginning. A file that changes meanwhile makes other weights,
    /// or an error.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use lowbit::import::gguf::{GgufFile, GgufTensorType, GgufType, GgufWriter, quantize};
    /// let mut writer = GgufWriter::new();
    /// writer.tensor("w", GgufTensorType::Quantized(GgufType::Q4_0), &[2, 32])?;
    /// let mut data = writer.begin(Vec::new())?;
    /// data.tensor("w", &quantize(GgufType::Q4_0, &[0.5; 64])?)?;
    /// let bytes = data.finish()?;
    /// // Or a `std::fs::File`, whose map was parsed:
    /// let file = Arc::new(Mutex::new(std::io::Cursor::new(bytes.clone())));
    /// let weights = GgufFile::parse(&bytes)?.tensor("w")?.deferred_weights_from(&file)?;
    /// drop(bytes);
    /// assert_eq!(weights.dequantize()?.values::<f32>()?, [0.5; 64]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the tensor's type is not one of [`GgufType`]. What can't be read, and numbers that no weights can hold, are found when the
    /// blocks are converted.
    pub fn deferred_weights_from<R>(&self, file: &Arc<Mutex<R>>) -> Result<PackedWeights>
    where
        R: Read + Seek + Send + 'static,
    {
        let (file, first, name) = (file.clone(), self.at as u64, self.name.to_string());
        self.deferred(move |range| {
            let mut blocks = vec![0; range.len()];
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let read =
                file.seek(SeekFrom::Start(first + range.start as u64)).and_then(|_| file.read_exact(&mut blocks));
            read.map_err(|error| {
                Error::Request(format!("{} can't be read: {error}: leave its file as it is", quoted(&name)))
            })?;
            Ok(blocks)
        })
    }

    /// Weights that are made of blocks in these bytes of the tensor when they are needed.
    fn deferred<B: AsRef<[u8]>>(
        &self,
        read: impl Fn(Range<usize>) -> Result<B> + Send + Sync + 'static,
    ) -> Result<PackedWeights> {
        let Some(known) = self.gguf_type() else { return self.weights() };
        let (dims, bytes) = (self.weight_dimensions()?, self.bytes()?.len());
        let format = format_of(known, self.bytes()?);
        let [experts, n, k] = dims;
        if experts != 1 {
            return PackedWeights::deferred(format, dims, move || {
                weights_as(known, format, dims, read(0..bytes)?.as_ref())
            });
        }
        let row = known.bytes([1, 1, k])?;
        PackedWeights::deferred_rows(format, [n, k], move |rows| {
            let blocks = read(rows.start * row..rows.end * row)?;
            weights_as(known, format, [1, rows.len(), k], blocks.as_ref())
        })
    }
}

/// Some bytes of a file.
struct Part<F> {
    file: Arc<F>,
    range: Range<usize>,
}

impl<F: AsRef<[u8]>> AsRef<[u8]> for Part<F> {
    fn as_ref(&self) -> &[u8] {
        self.file.as_ref().as_ref().get(self.range.clone()).unwrap_or_default()
    }
}
