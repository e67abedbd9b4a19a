//! A conformance case as its file holds it: operator, attributes, tensors and tolerances. INDEX.md of the set describes the file
//! format. The operators' meaning is in `ops`, the comparison of outputs in `compare`.

use std::collections::HashMap;

use safetensors::SafeTensors;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Result;
use crate::array::{Array, Elements};

/// A case: its operator, inputs and expected outputs.
#[derive(Debug)]
pub(crate) struct Case {
    pub op: String,
    #[allow(dead_code, reason = "tests/onnx makes models of cases")]
    pub domain: String,
    #[allow(dead_code, reason = "tests/onnx makes models of cases")]
    pub opset: i64,
    pub attributes: Map<String, Value>,
    /// In ONNX's slot order; `None` is an omitted optional input.
    pub inputs: Vec<Option<Named>>,
    pub outputs: Vec<Named>,
    pub aux: Vec<Named>,
    /// One per output.
    pub tolerances: Vec<Tolerance>,
}

/// A tensor under the name of its argument.
#[derive(Debug)]
pub(crate) struct Named {
    pub name: String,
    pub array: Array,
}

/// Tolerance of one output.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Tolerance {
    /// Equal bits.
    Exact {
        /// Elements close enough to a tie that they may differ by `near_tie_max_lsb`.
        #[serde(default)]
        near_tie_indices: Vec<usize>,
        #[serde(default)]
        near_tie_max_lsb: u32,
        /// Any NaN equals any NaN.
        #[serde(default)]
        nan_any_payload: bool,
    },
    /// `|got − ref| ≤ atol + rtol · |ref|`.
    Float {
        atol: f64,
        rtol: f64,
        /// Name of the aux tensor that is `ref`; without it the output itself is.
        #[serde(rename = "ref")]
        reference: Option<String>,
        /// `exact`: bit-identical results are possible.
        strict: Option<String>,
    },
    /// A scalar that equals one of these values.
    AnyOf { values: Vec<f64> },
    /// At least this share of the bytes is equal.
    BytesFraction { min_equal: f64 },
}

/// A tensor's metadata.
#[derive(Debug, Deserialize)]
struct Record {
    name: String,
    tensor: String,
    dtype: String,
    shape: Vec<usize>,
    packing: String,
}

/// Operator of a case file, if its metadata can be read.
pub(crate) fn operator(bytes: &[u8]) -> Option<String> {
    metadata(bytes).ok()?.remove("op")
}

fn metadata(bytes: &[u8]) -> Result<HashMap<String, String>> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    Ok(header.metadata().clone().ok_or("the file has no metadata")?)
}

impl Case {
    /// Parses the bytes of a case file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let metadata = metadata(bytes)?;
        let file = SafeTensors::deserialize(bytes)?;
        let field = |key: &str| metadata.get(key).ok_or_else(|| format!("the metadata lack \"{key}\""));
        let format = field("format")?;
        if format != "qconf/1" {
            return Err(format!("the format is \"{format}\", but only qconf/1 is known").into());
        }
        fn json<T: DeserializeOwned>(key: &str, text: &str) -> Result<T> {
            Ok(serde_json::from_str(text).map_err(|error| format!("the metadata's \"{key}\": {error}"))?)
        }
        let records = |key: &str| json::<Vec<Option<Record>>>(key, field(key)?);
        let named = |key: &str| -> Result<Vec<Named>> {
            let present = records(key)?.into_iter().flatten();
            present.map(|record| record.read(&file)).collect()
        };
        let inputs = records("inputs")?.into_iter().map(|record| record.map(|r| r.read(&file)).transpose());
        let case = Self {
            op: field("op")?.clone(),
            domain: field("domain")?.clone(),
            opset: field("opset")?.parse()?,
            attributes: json("attributes", field("attributes")?)?,
            inputs: inputs.collect::<Result<_>>()?,
            outputs: named("outputs")?,
            aux: named("aux")?,
            tolerances: json("tolerance", field("tolerance")?)?,
        };
        let (outputs, tolerances) = (case.outputs.len(), case.tolerances.len());
        if outputs != tolerances {
            return Err(format!("there are {tolerances} tolerances for {outputs} outputs").into());
        }
        Ok(case)
    }

    /// Input of a slot, if present.
    pub(crate) fn optional(&self, slot: usize) -> Option<&Array> {
        self.inputs.get(slot)?.as_ref().map(|named| &named.array)
    }

    /// Input of a slot; an error if it is missing.
    pub(crate) fn input(&self, slot: usize) -> Result<&Array> {
        Ok(self.optional(slot).ok_or_else(|| format!("input {slot} is missing"))?)
    }

    /// Attribute, if present.
    pub(crate) fn attribute<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let parse = |value: &Value| T::deserialize(value).map_err(|error| format!("the attribute {name}: {error}"));
        Ok(self.attributes.get(name).map(parse).transpose()?)
    }
}

impl Record {
    fn read(self, file: &SafeTensors) -> Result<Named> {
        let name = &self.name;
        let view = file.tensor(&self.tensor).map_err(|error| format!("the tensor of {name}: {error}"))?;
        let count = self.shape.iter().try_fold(1usize, |product, &d| product.checked_mul(d));
        let count = count.ok_or_else(|| format!("{name} has the shape {:?}, which is too large", self.shape))?;
        let elements = Elements::read(&self.dtype, &self.packing, count, &view)
            .map_err(|error| format!("{name} of shape {:?}: {error}", self.shape))?;
        Ok(Named { name: self.name, array: Array { shape: self.shape, elements } })
    }
}
