//! Containers of arrays in the safetensors format, read by the `safetensors` crate. What the arrays mean is the other modules'
//! matter.

use safetensors::{Dtype, SafeTensors};

use super::{Array, ElementType};
use crate::error::{Error, Result, require};

/// The greatest header that is read: some tens of thousands of tensors. Parsing takes several times its size.
const MAX_HEADER: u64 = 8 << 20;

/// The arrays of a safetensors file, by name; it borrows the bytes, which may be a [map](super::map()).
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
    file: SafeTensors<'a>,
    metadata: Vec<(String, String)>,
}

impl<'a> Safetensors<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// If it is damaged, doesn't fit the length of the file, or is larger than 8 MiB.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let header = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
        require!(
            header.is_some_and(|header| header <= MAX_HEADER),
            "this is no safetensors file, or its header is larger than {} MiB: {} bytes were given",
            MAX_HEADER >> 20,
            bytes.len()
        );
        let damaged =
            |error| Error::Request(format!("the safetensors file is damaged ({error}): download or export it again"));
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Self { file, metadata })
    }

    /// The names of all arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file.names().into_iter()
    }

    /// What the file says about itself under this key.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| &value[..])
    }

    /// An array.
    ///
    /// # Errors
    /// If there is none of this name, or its numbers are none of [`ElementType`].
    pub fn array(&self, name: &str) -> Result<Array<'a>> {
        let found = self.optional(name)?;
        require!(found.is_some(), "the file has no \"{name}\": take the name of a layer that is in it");
        found.ok_or_else(|| Error::Request(String::new()))
    }

    /// An array, if there is one of this name.
    ///
    /// # Errors
    /// If its numbers are none of [`ElementType`].
    pub fn optional(&self, name: &str) -> Result<Option<Array<'a>>> {
        let Ok(view) = self.file.tensor(name) else { return Ok(None) };
        let element_type = match view.dtype() {
            Dtype::U8 => ElementType::Uint8,
            Dtype::I8 => ElementType::Int8,
            Dtype::I32 | Dtype::U32 => ElementType::Int32,
            Dtype::I64 => ElementType::Int64,
            Dtype::F16 => ElementType::Float16,
            Dtype::BF16 => ElementType::Bfloat16,
            Dtype::F32 => ElementType::Float32,
            other => return Err(Error::Request(format!("\"{name}\" holds {other:?}, which no layout here uses"))),
        };
        Array::new(element_type, view.shape(), view.data()).map(Some)
    }
}
