//! Arrays in the safetensors format: a strict reader that borrows the bytes and stores only a list of names. Other modules
//! interpret the arrays.
//!
//! ```text
//! u64 length of the header
//! header    JSON: {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}, …, "__metadata__": {"key": "text", …}}
//! data      the arrays one after the other, without gaps
//! ```

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Array, ElementType, quoted};
use crate::error::{Error, Result, refuse, require};

/// The greatest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// The longest JSON description of an array that is read, in bytes. About a hundred suffice.
const MAX_ABOUT: usize = 4_000;

/// The name of the header's entry for metadata.
const METADATA: &str = "__metadata__";

/// The arrays of a safetensors file, by name. It borrows the bytes, which may be a [map](super::map()).
///
/// Source: the format's description in the repository `huggingface/safetensors`.
///
/// ```
/// use lowbit::import::Safetensors;
/// let header = br#"{"scale":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
/// let bytes = [&(header.len() as u64).to_le_bytes(), &header[..], &[0x00, 0x3c]].concat();
/// let file = Safetensors::parse(&bytes)?;
/// assert_eq!(file.array("scale")?.shape(), [1]);
/// assert!(file.array("zero").is_err());
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug)]
pub struct Safetensors<'a> {
    arrays: Vec<Part<'a>>,
    metadata: Vec<Part<'a>>,
}

/// A name in an object of the header, with its JSON value. Lists of parts are sorted by name.
#[derive(Debug)]
struct Part<'a> {
    name: Cow<'a, str>,
    json: &'a str,
    /// The data of the file, for arrays.
    data: &'a [u8],
}

/// The header's description of an array.
#[derive(serde::Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

fn damaged(why: &dyn fmt::Display) -> Error {
    Error::Request(format!("the safetensors file is damaged ({why}): download or export it again"))
}

/// The parts of an object; an error if there are more than `most` or two have one name. `what` describes the names in errors.
fn parts<'a>(json: &'a str, what: &str, most: usize) -> Result<Vec<Part<'a>>> {
    require!(
        json.starts_with('{'),
        "the safetensors file is damaged (its header or the metadata in it don't begin with {{): download or export it again"
    );
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let parts = deserializer.deserialize_map(Parts { most }).and_then(|parts| deserializer.end().map(|()| parts));
    let mut parts = parts.map_err(|error| damaged(&error))?;
    parts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let twice = parts.windows(2).find(|pair| pair[0].name == pair[1].name);
    require!(
        twice.is_none(),
        "the safetensors file has two {what} {}: nobody can tell which is meant, export it with names that differ",
        quoted(twice.map_or("", |pair| &pair[0].name))
    );
    Ok(parts)
}

/// Collects at most `most` parts.
struct Parts {
    most: usize,
}

impl<'a> Visitor<'a> for Parts {
    type Value = Vec<Part<'a>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> std::result::Result<Self::Value, M::Error> {
        let mut parts = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            if parts.len() == self.most {
                return Err(M::Error::custom(format_args!("more than {} names in so small a file", self.most)));
            }
            parts.push(Part { name, json: map.next_value::<&RawValue>()?.get(), data: &[] });
        }
        Ok(parts)
    }
}

/// A string that is borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn find<'p, 'a>(parts: &'p [Part<'a>], name: &str) -> Option<&'p Part<'a>> {
    parts.binary_search_by(|part| (*part.name).cmp(name)).ok().map(|place| &parts[place])
}

impl<'a> Part<'a> {
    /// The error that this part is damaged.
    fn damaged(&self, why: &dyn fmt::Display) -> Error {
        damaged(&format_args!("{}: {why}", quoted(&self.name)))
    }

    /// The string value of the part.
    fn text(&self) -> Result<Cow<'a, str>> {
        require!(
            self.json.starts_with('"'),
            "the safetensors file is damaged ({} in its metadata is no text): download or export it again",
            quoted(&self.name)
        );
        serde_json::from_str(self.json).map(|Name(text)| text).map_err(|error| self.damaged(&error))
    }

    /// The description of an array in this part.
    fn about(&self) -> Result<About<'a>> {
        // serde would accept a JSON array of the fields instead of an object.
        if !(self.json.starts_with('{') && self.json.len() <= MAX_ABOUT) {
            return Err(self.damaged(&format_args!("{} bytes that describe no array", self.json.len())));
        }
        serde_json::from_str(self.json).map_err(|error| self.damaged(&error))
    }
}

impl<'a> Safetensors<'a> {
    /// The file of these bytes. Reads the header and checks that the data are complete.
    ///
    /// # Errors
    /// If the header is damaged, doesn't fit the length of the file, is larger than 100 MB, or has two arrays or two texts of
    /// one name.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length)).unwrap_or(u64::MAX);
        require!(
            length <= MAX_HEADER,
            "this is no safetensors file, or its header is larger than {} MB: {} bytes were given",
            MAX_HEADER / 1_000_000,
            bytes.len()
        );
        let rest = &bytes[8..];
        require!(
            length <= rest.len() as u64,
            "the safetensors file has a header of {length} bytes, but {} follow: it is truncated or damaged, download or export \
             it again",
            rest.len()
        );
        let (header, data) = rest.split_at(length as usize);
        let header = std::str::from_utf8(header).map_err(|error| damaged(&error))?;
        // A growing list takes up to one and a half times its size in memory, and there are two lists.
        let most = bytes.len().saturating_add(16 << 20) / (2 * size_of::<Part<'_>>());
        let mut arrays = parts(header, "arrays", most)?;
        let place = arrays.iter().position(|part| part.name == METADATA);
        let metadata = match place.map(|place| arrays.remove(place)) {
            Some(texts) => parts(texts.json, "values for", most)?,
            None => Vec::new(),
        };
        metadata.iter().try_for_each(|part| part.text().map(drop))?;
        arrays.iter_mut().for_each(|part| part.data = data);
        let file = Self { arrays, metadata };
        file.check_places(data)?;
        Ok(file)
    }

    /// The arrays of a model in several files, given as the bytes of all of them. Of metadata of one name, those of the first file
    /// count.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); also if two files have an array of one name.
    pub fn parse_parts(files: &[&'a [u8]]) -> Result<Self> {
        let mut all = Self { arrays: Vec::new(), metadata: Vec::new() };
        for bytes in files {
            let file = Self::parse(bytes)?;
            all.arrays.extend(file.arrays);
            all.metadata.extend(file.metadata);
        }
        all.arrays.sort_by(|a, b| a.name.cmp(&b.name));
        let twice = all.arrays.windows(2).find(|pair| pair[0].name == pair[1].name);
        require!(
            twice.is_none(),
            "two safetensors files have an array {}: give the files of one model",
            quoted(twice.map_or("", |pair| &pair[0].name))
        );
        all.metadata.sort_by(|a, b| a.name.cmp(&b.name));
        all.metadata.dedup_by(|later, first| later.name == first.name);
        Ok(all)
    }

    /// An error if arrays overlap, leave gaps or exceed the data.
    fn check_places(&self, data: &[u8]) -> Result<()> {
        let mut places = Vec::with_capacity(self.arrays.len());
        for (index, part) in self.arrays.iter().enumerate() {
            let [begin, end] = part.about()?.data_offsets;
            places.push((begin, end, index));
        }
        places.sort_unstable();
        let (total, mut before) = (data.len(), 0);
        for (begin, end, index) in places {
            require!(
                begin == before && begin <= end && end <= total,
                "{} has bytes {begin} to {end} of the data, but there are {total}, and the arrays before it end at {before}: the \
                 safetensors file is truncated or damaged, download or export it again",
                quoted(&self.arrays[index].name)
            );
            before = end;
            self.view(&self.arrays[index])?;
        }
        require!(
            before == total,
            "the arrays end at byte {before} of the data, but there are {total}: the safetensors file is damaged, download or \
             export it again"
        );
        Ok(())
    }

    /// The array of a part; `None` if its data type is not an [`ElementType`].
    fn view(&self, part: &Part<'a>) -> Result<Option<Array<'a>>> {
        let about = part.about()?;
        let element_type = match &*about.dtype {
            "U8" => ElementType::Uint8,
            "I8" => ElementType::Int8,
            "I32" | "U32" => ElementType::Int32,
            "I64" => ElementType::Int64,
            "F16" => ElementType::Float16,
            "BF16" => ElementType::Bfloat16,
            "F32" => ElementType::Float32,
            "F4" => ElementType::Float4E2M1,
            "F8_E4M3" => ElementType::Float8E4M3,
            "F8_E5M2" => ElementType::Float8E5M2,
            "F8_E8M0" => ElementType::Float8E8M0,
            _ => return Ok(None),
        };
        let [begin, end] = about.data_offsets;
        let bytes = part.data.get(begin..end).unwrap_or_default();
        Array::new(element_type, about.shape, bytes).map(Some).map_err(|error| part.damaged(&error))
    }

    /// The names of all arrays, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.iter().map(|part| &*part.name)
    }

    /// True if there is an array of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        find(&self.arrays, name).is_some()
    }

    /// The names that begin with this.
    pub(super) fn names_from<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = &'s str> {
        let first = self.arrays.partition_point(|part| *part.name < *prefix);
        self.arrays[first..].iter().map(|part| &*part.name).take_while(move |name| name.starts_with(prefix))
    }

    /// The metadata text of this key.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<Cow<'a, str>> {
        find(&self.metadata, key).and_then(|part| part.text().ok())
    }

    /// The array of this name.
    ///
    /// # Errors
    /// If there is no such array, or its data type is not an [`ElementType`].
    pub fn array(&self, name: &str) -> Result<Array<'a>> {
        let found = self.optional(name)?;
        found.ok_or_else(|| {
            Error::Request(format!("the file has no \"{name}\": take the name of a layer that is in it"))
        })
    }

    /// The array of this name, if there is one.
    ///
    /// # Errors
    /// If its data type is not an [`ElementType`].
    pub fn optional(&self, name: &str) -> Result<Option<Array<'a>>> {
        let Some(part) = find(&self.arrays, name) else { return Ok(None) };
        let array = self.view(part)?;
        if array.is_none() {
            refuse!("\"{name}\" holds {}, which no layout here uses", quoted(&part.about()?.dtype));
        }
        Ok(array)
    }
}
