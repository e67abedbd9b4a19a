//! A quantized model as a safetensors file: codes packed bit by bit, scales beside them, everything else in the metadata.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::quantized::{QuantizedModel, Scales};
use super::scheme::{ActivationQuantization, WeightGranularity, WeightScheme};
use super::weights::QuantizedWeights;
use crate::error::{Error, Result, require};
use crate::model::{Architecture, Model, bytes};

/// The value of `format` in the description.
const FORMAT: &str = "lowbit-quantized/1";

/// The metadata of a file, as JSON.
#[derive(Serialize, Deserialize)]
struct Description {
    format: String,
    architecture: Architecture,
    /// By layer name.
    weights: HashMap<String, WeightScheme>,
    /// Quantization of the input and of each layer's result; `None` if activations are dynamic.
    activations: Option<Vec<Option<ActivationQuantization>>>,
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::Request(format!("the file holds no quantized model: {what}"))
}

impl QuantizedModel {
    /// The bytes of a safetensors file. Each layer has these tensors:
    ///
    /// - `<name>.weight`, U8: the codes row by row, each in the scheme's number of bits, the first in the lowest bits.
    /// - `<name>.scale`, F32; for blocks U8: E8M0 for MX, E4M3 for NVFP4.
    /// - `<name>.global_scale`, F32, NVFP4 only.
    /// - `<name>.zero_point`, I32, if the scheme is not symmetric.
    /// - `<name>.bias`, F32.
    ///
    /// The entry `model` of the metadata is JSON: the format (`lowbit-quantized/1`), the architecture, the schemes of the
    /// weights and the scales of activations. Equal models give equal bytes.
    ///
    /// # Errors
    /// If the file can't be made.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut schemes = HashMap::new();
        for (layer, weights) in self.dequantized().layers().iter().zip(self.weights()) {
            let Some(weights) = weights else { continue };
            let name = layer.name();
            let packed = weights.packed();
            let shape = vec![weights.rows, weights.scales.len() / weights.rows];
            tensors.push((format!("{name}.weight"), Dtype::U8, vec![packed.len()], packed));
            let (dtype, scales) = match weights.scheme.block(1.0)? {
                None => (Dtype::F32, bytes(&weights.scales)),
                Some(block) => {
                    (Dtype::U8, weights.scales.iter().map(|&scale| block.code_of_scale(scale) as u8).collect())
                }
            };
            tensors.push((format!("{name}.scale"), dtype, shape.clone(), scales));
            if weights.scheme.granularity == WeightGranularity::Nvfp4 {
                tensors.push((format!("{name}.global_scale"), Dtype::F32, vec![1], bytes(&[weights.global_scale])));
            }
            if !weights.scheme.symmetric {
                let zero_points = weights.zero_points.iter().flat_map(|z| z.to_le_bytes()).collect();
                tensors.push((format!("{name}.zero_point"), Dtype::I32, shape, zero_points));
            }
            tensors.push((format!("{name}.bias"), Dtype::F32, vec![layer.bias().len()], bytes(layer.bias())));
            schemes.insert(name.to_string(), weights.scheme);
        }
        let description = Description {
            format: FORMAT.into(),
            architecture: self.dequantized().architecture().clone(),
            weights: schemes,
            activations: match self.scales() {
                Scales::Static(scales) => Some(scales.clone()),
                Scales::Dynamic => None,
            },
        };
        let failed = |error: &dyn std::fmt::Display| Error::Request(format!("the model can't be written: {error}"));
        // A `serde_json::Value` sorts its maps. The file's own metadata map isn't sorted, so it has one entry.
        let json = serde_json::to_value(&description).map_err(|error| failed(&error))?.to_string();
        let metadata = HashMap::from([("model".to_string(), json)]);
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in &tensors {
            views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| failed(&error))?));
        }
        safetensors::serialize(views, Some(metadata)).map_err(|error| failed(&error))
    }

    /// The model read from the bytes of a file of [`to_safetensors`](Self::to_safetensors).
    ///
    /// # Errors
    /// If the file is damaged, of another format, or its parts don't fit each other.
    pub fn from_safetensors(file: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(file).map_err(malformed)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let json = metadata.get("model").ok_or_else(|| malformed("its metadata lack \"model\""))?;
        let description: serde_json::Value = serde_json::from_str(json).map_err(malformed)?;
        let format = description["format"].as_str().unwrap_or("");
        require!(format == FORMAT, "the file's format is \"{format}\", but {FORMAT} is read");
        let description: Description = serde_json::from_value(description).map_err(malformed)?;
        let file = SafeTensors::deserialize(file).map_err(malformed)?;
        // Allocates no more than the file has codes for. A code has at least two bits.
        let zeros = |name: &str, shape: &[usize]| {
            let (bytes, elements) =
                (file.tensor(name).map_err(malformed)?.data().len(), shape.iter().product::<usize>());
            require!(
                bytes >= elements / 4,
                "{name} has {bytes} bytes, too few for the {elements} numbers of the architecture"
            );
            Ok(vec![0.0; elements])
        };
        let mut model = Model::read(description.architecture, zeros)?;
        let mut weights = Vec::new();
        for layer in model.clone().layers() {
            if !layer.is_weighted() {
                weights.push(None);
                continue;
            }
            let name = layer.name();
            let scheme = description.weights.get(name).copied();
            let scheme =
                scheme.ok_or_else(|| malformed(format!("nothing says how the weights of {name} are coded")))?;
            scheme.check()?;
            let (rows, k) = (layer.output().channels, layer.row_length());
            let groups = k.div_ceil(scheme.group(k));
            let scale = format!("{name}.scale");
            let scales = match scheme.block(1.0)? {
                None => words(&file, &scale, Dtype::F32, rows * groups, f32::from_le_bytes)?,
                Some(block) => {
                    let number = |[code]: [u8; 1]| block.scale_number(code.into());
                    words(&file, &scale, Dtype::U8, rows * groups, number)?
                }
            };
            let zero_points = match scheme.symmetric {
                true => vec![0; rows * groups],
                false => words(&file, &format!("{name}.zero_point"), Dtype::I32, rows * groups, i32::from_le_bytes)?,
            };
            let packed = file.tensor(&format!("{name}.weight")).map_err(malformed)?;
            let codes = QuantizedWeights::unpack(scheme, rows * k, packed.data())?;
            let mut coded = QuantizedWeights::new(scheme, rows, scales, zero_points, codes)
                .map_err(|error| malformed(format!("layer {name}: {error}")))?;
            if scheme.granularity == WeightGranularity::Nvfp4 {
                let global = words(&file, &format!("{name}.global_scale"), Dtype::F32, 1, f32::from_le_bytes)?;
                coded =
                    coded.with_global_scale(global[0]).map_err(|error| malformed(format!("layer {name}: {error}")))?;
            }
            let bias = words(&file, &format!("{name}.bias"), Dtype::F32, rows, f32::from_le_bytes)?;
            model = model.with_parameters(name, coded.dequantized(), bias)?;
            weights.push(Some(coded));
        }
        match description.activations {
            Some(activations) => Self::from_parts(model, weights, activations),
            None => Self::new(model, weights, Scales::Dynamic),
        }
    }
}

/// The elements of a tensor; an error if its data type or count is another.
fn words<T, const N: usize>(
    file: &SafeTensors,
    name: &str,
    dtype: Dtype,
    count: usize,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let view = file.tensor(name).map_err(malformed)?;
    require!(
        view.dtype() == dtype && view.data().len() == N * count,
        "{name} is {:?} {:?}, but it must be {dtype:?} of {count} elements",
        view.dtype(),
        view.shape()
    );
    Ok(view.data().as_chunks().0.iter().map(|&bytes| value(bytes)).collect())
}
