//! A quantized model as a safetensors file: codes packed bit by bit, scales beside them, everything else in the metadata.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::quantized::{QuantizedModel, Scales};
use super::scheme::{ActivationQuantization, WeightScheme};
use super::weights::QuantizedWeights;
use crate::error::{Error, Result, require};
use crate::model::{Architecture, Model, bytes};

/// The value of `format` in the metadata.
const FORMAT: &str = "lowbit-quantized/1";

/// The metadata of a file, as JSON.
#[derive(Serialize, Deserialize)]
struct Description {
    architecture: Architecture,
    /// By layer.
    weights: HashMap<String, WeightScheme>,
    /// Of the input and of what each layer makes; none if they are found as they come.
    activations: Option<Vec<Option<ActivationQuantization>>>,
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::Request(format!("the file holds no quantized model: {what}"))
}

impl QuantizedModel {
    /// The bytes of a safetensors file. For each layer `<name>.weight` (U8: the codes row by row, as many bits each as the scheme
    /// says, the first in the lowest bits), `<name>.scale` (F32), `<name>.zero_point` (I32, if not symmetric) and
    /// `<name>.bias` (F32); the metadata's `format` is `lowbit-quantized/1`, its `model` a JSON of the architecture, the
    /// schemes of the weights and the scales of activations.
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
            tensors.push((format!("{name}.scale"), Dtype::F32, shape.clone(), bytes(&weights.scales)));
            if !weights.scheme.symmetric {
                let zero_points = weights.zero_points.iter().flat_map(|z| z.to_le_bytes()).collect();
                tensors.push((format!("{name}.zero_point"), Dtype::I32, shape, zero_points));
            }
            tensors.push((format!("{name}.bias"), Dtype::F32, vec![layer.bias().len()], bytes(layer.bias())));
            schemes.insert(name.to_string(), weights.scheme);
        }
        let description = Description {
            architecture: self.dequantized().architecture().clone(),
            weights: schemes,
            activations: match self.scales() {
                Scales::Static(scales) => Some(scales.clone()),
                Scales::Dynamic => None,
            },
        };
        let failed = |error: &dyn std::fmt::Display| Error::Request(format!("the model can't be written: {error}"));
        // By way of a value, whose maps are sorted: the same model makes the same file.
        let json = serde_json::to_value(&description).map_err(|error| failed(&error))?.to_string();
        let metadata = HashMap::from([("format".to_string(), FORMAT.to_string()), ("model".to_string(), json)]);
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in &tensors {
            views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| failed(&error))?));
        }
        safetensors::serialize(views, Some(metadata)).map_err(|error| failed(&error))
    }

    /// The model in the bytes of such a file.
    ///
    /// # Errors
    /// If the file is damaged, of another format, or its parts don't fit each other.
    pub fn from_safetensors(file: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(file).map_err(malformed)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let format = metadata.get("format").map_or("", String::as_str);
        require!(format == FORMAT, "the file's format is \"{format}\", but {FORMAT} is read");
        let json = metadata.get("model").ok_or_else(|| malformed("its metadata lack \"model\""))?;
        let description: Description = serde_json::from_str(json).map_err(malformed)?;
        let file = SafeTensors::deserialize(file).map_err(malformed)?;
        let mut model = Model::zeroed(description.architecture)?;
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
            let scales = words(&file, &format!("{name}.scale"), Dtype::F32, rows * groups, f32::from_le_bytes)?;
            let zero_points = match scheme.symmetric {
                true => vec![0; rows * groups],
                false => words(&file, &format!("{name}.zero_point"), Dtype::I32, rows * groups, i32::from_le_bytes)?,
            };
            let packed = file.tensor(&format!("{name}.weight")).map_err(malformed)?;
            let codes = QuantizedWeights::unpack(scheme, rows * k, packed.data())?;
            let coded = QuantizedWeights::new(scheme, rows, scales, zero_points, codes)
                .map_err(|error| malformed(format!("layer {name}: {error}")))?;
            let bias = words(&file, &format!("{name}.bias"), Dtype::F32, rows, f32::from_le_bytes)?;
            model = model.with_parameters(name, coded.dequantized(), bias)?;
            weights.push(Some(coded));
        }
        match description.activations {
            Some(activations) => {
                for a in activations.iter().flatten() {
                    require!(
                        (2..=8).contains(&a.bits)
                            && a.scale.is_finite()
                            && a.scale > 0.0
                            && (0..=a.greatest()).contains(&a.zero_point),
                        "activations of {a:?} are not possible"
                    );
                }
                Self::from_parts(model, weights, activations)
            }
            None => Self::new(model, weights, Scales::Dynamic),
        }
    }
}

/// The elements of a tensor, which are as many as they must be.
fn words<T>(file: &SafeTensors, name: &str, dtype: Dtype, count: usize, value: fn([u8; 4]) -> T) -> Result<Vec<T>> {
    let view = file.tensor(name).map_err(malformed)?;
    require!(
        view.dtype() == dtype && view.data().len() == 4 * count,
        "{name} is {:?} {:?}, but it must be {dtype:?} of {count} elements",
        view.dtype(),
        view.shape()
    );
    Ok(view.data().chunks_exact(4).map(|b| value([b[0], b[1], b[2], b[3]])).collect())
}
