//! Models in several GGUF files, `name-00001-of-00003.gguf` and so on, opened as one.

use super::file::{ALIGNMENT, GgufFile, GgufTensor, Value};
use crate::error::{Error, Result, refuse, require};
use crate::import::quoted;

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// The keys that differ between a model in several files and the same model in one.
pub(super) const KEYS: [&str; 3] = [NUMBER, COUNT, TENSORS];

/// A model in one GGUF file or several. It borrows their bytes, which may be [maps](crate::import::map()).
///
/// Parts of a model have the metadata `split.no` (0, 1, …), `split.count` (the number of parts) and `split.tensors.count` (the
/// tensors of all parts). Other metadata lie in the first part. A file without these keys is a whole model.
///
/// ```
/// use lowbit::import::ElementType;
/// use lowbit::import::gguf::{self, GgufModel, GgufWriter};
/// # fn main() -> lowbit::Result<()> {
/// let part = |number: u16, tensor: &str| {
///     let mut writer = GgufWriter::new();
///     if number == 0 {
///         writer.value("general.architecture", "llama")?;
///     }
///     writer.value("split.no", number)?.value("split.count", 2u16)?.value("split.tensors.count", 2i32)?;
///     writer.tensor(tensor, ElementType::Float32, [1])?;
///     let mut data = writer.begin(Vec::new())?;
///     data.tensor(tensor, &1f32.to_le_bytes())?;
///     data.finish()
/// };
/// // The names that belong to one of them:
/// assert_eq!(gguf::part_names("m-00002-of-00002.gguf"), ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
/// let files = [part(0, "a")?, part(1, "b")?];
///
/// let model = GgufModel::parse(&[&files[0], &files[1]])?;
/// assert_eq!(model.tensors().map(|tensor| tensor.name()).collect::<Vec<_>>(), ["a", "b"]);
/// assert_eq!(model.tensor("b")?.floats()?.values::<f32>()?, [1.0]);
/// let missing = GgufModel::parse(&[&files[1]]).unwrap_err();
/// assert!(missing.to_string().contains("part 1 of 2 is missing"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct GgufModel<'a> {
    /// In the order of their numbers; at least one.
    parts: Vec<GgufFile<'a>>,
}

/// What a part says of itself.
#[derive(Debug, Clone, Copy)]
struct Split {
    number: u64,
    count: u64,
    tensors: Option<u64>,
}

impl<'a> GgufModel<'a> {
    /// The model of these files, in any order.
    ///
    /// # Errors
    /// If a file is no GGUF file ([`GgufFile::parse`]), a part is missing, there twice, or of another model: one with another
    /// number of parts or tensors, other values for metadata of the first part, or a tensor of a name that another part has.
    pub fn parse(parts: &[&'a [u8]]) -> Result<Self> {
        require!(!parts.is_empty(), "a model of no files: give the bytes of all its parts");
        let mut found = Vec::new();
        for (given, bytes) in parts.iter().enumerate() {
            let explained = |error: Error| match error {
                Error::Request(message) if parts.len() > 1 => {
                    Error::Request(format!("file {} of {}: {message}", given + 1, parts.len()))
                }
                error => error,
            };
            let file = GgufFile::parse(bytes).map_err(explained)?;
            let split = Split::of(&file).map_err(explained)?;
            found.push((split, file));
        }
        let first = found[0].0;
        let Some(Split { count, tensors, .. }) = first else {
            // A whole model, unless there are more files.
            require!(
                parts.len() == 1,
                "{} files were given, but file 1 is no part of a model: it has no {COUNT}. Open each model by itself",
                parts.len()
            );
            return Ok(Self { parts: found.into_iter().map(|(_, file)| file).collect() });
        };
        let mut numbered = Vec::new();
        for (given, (split, file)) in found.into_iter().enumerate() {
            let Some(split) = split else {
                refuse!("file {} is no part of a model: it has no {COUNT}. Leave it out", given + 1);
            };
            require!(
                split.count == count,
                "file {} is one of {} parts, but file 1 is one of {count}: they are of different models",
                given + 1,
                split.count
            );
            require!(
                split.tensors == tensors,
                "file {} is of a model of {} tensors, but file 1 of one of {}: they are of different models",
                given + 1,
                told(split.tensors),
                told(tensors)
            );
            numbered.push((split.number, file));
        }
        numbered.sort_by_key(|&(number, _)| number);
        let twice = numbered.windows(2).find(|pair| pair[0].0 == pair[1].0);
        require!(
            twice.is_none(),
            "part {} of {count} was given twice: give each part once",
            twice.map_or(0, |pair| pair[0].0 + 1)
        );
        let missing = numbered.len() as u64 != count;
        let first_missing = numbered.iter().zip(0..).find(|((number, _), place)| number != place);
        require!(
            !missing,
            "part {} of {count} is missing, and {} parts were given: give all of them (files end with -00001-of-{count:05}.gguf)",
            first_missing.map_or(numbered.len() as u64, |(_, place)| place) + 1,
            numbered.len()
        );
        let model = Self { parts: numbered.into_iter().map(|(_, file)| file).collect() };
        model.check_metadata()?;
        model.check_tensors(tensors)?;
        Ok(model)
    }

    /// An error if a later part gives metadata of the first one another value.
    fn check_metadata(&self) -> Result<()> {
        let first = &self.parts[0];
        // Places alone: a damaged file may have many short keys.
        let mut places: Vec<usize> = first.raw_metadata().map(|pair| pair.at).collect();
        let key_at = |at: &usize| first.key_at(*at);
        places.sort_unstable_by_key(key_at);
        for (place, part) in self.parts.iter().enumerate().skip(1) {
            for pair in part.raw_metadata().filter(|pair| pair.key != NUMBER && pair.key != ALIGNMENT) {
                let found = places.binary_search_by_key(&pair.key, key_at);
                let of_first = found.ok().and_then(|i| first.raw_pair(places[i]));
                require!(
                    of_first.is_none_or(|of_first| (of_first.kind, of_first.value) == (pair.kind, pair.value)),
                    "part {} has another value for {} than part 1: they are of different models",
                    place + 1,
                    quoted(pair.key)
                );
            }
        }
        Ok(())
    }

    /// An error if two parts have a tensor of one name, or the number of all tensors is not this one.
    fn check_tensors(&self, expected: Option<u64>) -> Result<()> {
        // Each tensor takes as many bytes of its file.
        let count = self.parts.iter().map(GgufFile::tensor_count).sum::<u64>();
        let mut names: Vec<(&str, usize)> = Vec::with_capacity(count as usize);
        for (place, part) in self.parts.iter().enumerate() {
            names.extend(part.tensors().map(|tensor| (tensor.name(), place)));
        }
        require!(
            expected.is_none_or(|expected| expected == names.len() as u64),
            "the parts have {} tensors, but say that the model has {}: a part is damaged or of another model",
            names.len(),
            told(expected)
        );
        names.sort_unstable();
        if let Some([(name, one), (_, other)]) = names.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            refuse!(
                "the parts {} and {} both have a tensor {}: they are of different models",
                one + 1,
                other + 1,
                quoted(name)
            );
        }
        Ok(())
    }

    /// The parts, in the order of their numbers.
    #[must_use]
    pub fn parts(&self) -> &[GgufFile<'a>] {
        &self.parts
    }

    /// The metadata of the first part, which are those of the model, in the order of the file.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        self.parts[0].metadata()
    }

    /// The tensors of all parts, in order.
    pub fn tensors(&self) -> impl Iterator<Item = GgufTensor<'a>> {
        self.parts.iter().flat_map(GgufFile::tensors)
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// If there is no such tensor.
    pub fn tensor(&self, name: &str) -> Result<GgufTensor<'a>> {
        let Some(tensor) = self.tensors().find(|tensor| tensor.name() == name) else {
            refuse!("the model has no tensor {}: take the name of one that it has", quoted(name));
        };
        Ok(tensor)
    }
}

/// A number that may be absent, for messages.
fn told(number: Option<u64>) -> String {
    number.map_or("an untold number of".to_string(), |number| number.to_string())
}

impl Split {
    /// `None` for a file that is a whole model.
    fn of(file: &GgufFile<'_>) -> Result<Option<Self>> {
        let number = |of: &str| -> Result<Option<u64>> {
            let value = file.metadata().find(|(key, _)| *key == of);
            Ok(match value {
                None => None,
                Some((_, Value::Unsigned(number))) => Some(number),
                Some((_, Value::Signed(number))) if number >= 0 => Some(number.unsigned_abs()),
                Some((_, other)) => refuse!("{of} is {}, but must be a number: the file is damaged", shown(other)),
            })
        };
        let (place, tensors) = (number(NUMBER)?, number(TENSORS)?);
        // llama.cpp writes a count of 0 or 1 to a model that is whole.
        let Some(count) = number(COUNT)?.filter(|&count| count > 1 || (count == 1 && place.is_some())) else {
            return Ok(None);
        };
        let Some(place) = place else {
            refuse!("the file is one of {count} parts, but has no {NUMBER}: it is damaged");
        };
        require!(place < count, "{NUMBER} is {place}, but there are {count} parts, from 0 on: the file is damaged");
        Ok(Some(Self { number: place, count, tensors }))
    }
}

/// A value for messages, without its contents.
fn shown(value: Value<'_>) -> String {
    match value {
        Value::Signed(number) => number.to_string(),
        Value::Array(_) => "an array".to_string(),
        Value::Text(_) => "a text".to_string(),
        _ => "no integer".to_string(),
    }
}

/// The names of all parts of a model, from the name of one, which ends with `-00001-of-00003.gguf` or another part's number. For
/// other names that name alone, because the file is a whole model.
///
/// ```
/// use lowbit::import::gguf::part_names;
/// assert_eq!(part_names("dir/m-00001-of-00002.gguf"), ["dir/m-00001-of-00002.gguf", "dir/m-00002-of-00002.gguf"]);
/// assert_eq!(part_names("m.gguf"), ["m.gguf"]);
/// ```
#[must_use]
pub fn part_names(name: &str) -> Vec<String> {
    let parsed = name.strip_suffix(".gguf").and_then(|stem| {
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| {
            let five = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            five.then(|| text.parse::<u32>().ok()).flatten()
        };
        let (number, count) = (digits(number)?, digits(count)?);
        (1..=count).contains(&number).then_some((prefix, count))
    });
    match parsed {
        Some((prefix, count)) => (1..=count).map(|number| format!("{prefix}-{number:05}-of-{count:05}.gguf")).collect(),
        None => vec![name.to_string()],
    }
}
