//! Models of float layers, small enough that this crate can quantize, evaluate and train them: an architecture in JSON with
//! weights in safetensors. `float` (CPU) and `graph` (GPU) run them; `ptq` quantizes them.

mod arch;
mod float;
mod graph;
mod layer;
pub(crate) mod noise;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

pub use arch::{Activation, Architecture, Input, LayerOp, LayerSpec};
pub use layer::{Image, Layer, Window};

use crate::error::{Error, Result, require};
use crate::numeric::DType;
use crate::tensor::Tensor;

/// A chain of layers with float weights: convolution, linear and global average pooling, each with an optional ReLU.
///
/// Tensors are in the crate's order: float32 `[batch, height, width, channels]` if the architecture's input is an image,
/// `[batch, features]` if it is a row. Weights are read in PyTorch's order and stored outputs first, channels last.
///
/// ```
/// use lowbit::{Tensor, model::Model};
/// let architecture = r#"{ "input": { "shape": [2] }, "layers": [
///     { "name": "fc", "op": "linear", "in": 2, "out": 1, "activation": "relu" } ] }"#;
/// let file = safetensors::serialize([
///     ("fc.weight", safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 2], &[0, 0, 128, 63, 0, 0, 0, 64])?),
///     ("fc.bias", safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0, 0, 0, 0])?),
/// ], None)?;
/// let model = Model::new(serde_json::from_str(architecture)?, &file)?;
/// let logits = model.run(&Tensor::new([2, 2], vec![1.0f32, 2.0, -3.0, 1.0])?)?;
/// assert_eq!(logits.values::<f32>()?, [5.0, 0.0]); // 1·1 + 2·2, and max(−3 + 2, 0)
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    architecture: Architecture,
    layers: Vec<Layer>,
}

impl Model {
    /// The model of an architecture, with `<layer>.weight` and `<layer>.bias` (float32) from the bytes of a safetensors file.
    ///
    /// # Errors
    /// If layers don't fit each other, the file is not valid, or a tensor is missing, has another shape or type, or holds a
    /// value that is not finite.
    pub fn new(architecture: Architecture, weights: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(weights)
            .map_err(|error| Error::Request(format!("the weights are no sound safetensors file: {error}")))?;
        Self::read(architecture, |name, shape| read(&file, name, shape))
    }

    /// The model of an architecture with all weights and biases zero, for [`Model::with_parameters`].
    ///
    /// # Errors
    /// If layers don't fit each other.
    pub fn zeroed(architecture: Architecture) -> Result<Self> {
        Self::read(architecture, |_, shape| Ok(vec![0.0; shape.iter().product()]))
    }

    /// The model of an architecture with parameters from `read(name, shape)`.
    pub(crate) fn read(architecture: Architecture, read: impl Fn(&str, &[usize]) -> Result<Vec<f32>>) -> Result<Self> {
        let layers = layer::layers(&architecture, read)?;
        Ok(Self { architecture, layers })
    }

    /// The architecture.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The layers, in order.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The extents of one row of the input.
    #[must_use]
    pub fn input(&self) -> Image {
        self.layers[0].input()
    }

    /// Number of outputs per row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].output().elements()
    }

    /// The dimensions of an input of `rows` rows.
    #[must_use]
    pub fn input_shape(&self, rows: usize) -> Vec<usize> {
        let Image { height, width, channels } = self.input();
        if self.architecture.input.shape.len() == 1 {
            vec![rows, channels]
        } else {
            vec![rows, height, width, channels]
        }
    }

    /// This model with other parameters for a layer. Weights are in the order of [`Layer::weights`].
    ///
    /// # Errors
    /// If there is no such layer, it has no weights, or the parameters have another number or aren't finite.
    pub fn with_parameters(mut self, layer: &str, weights: Vec<f32>, bias: Vec<f32>) -> Result<Self> {
        let index = self.position(layer)?;
        self.layers[index].set_parameters(weights, bias)?;
        Ok(self)
    }

    /// The index of a layer.
    ///
    /// # Errors
    /// If no layer has this name.
    pub fn position(&self, layer: &str) -> Result<usize> {
        let names = || self.layers.iter().map(Layer::name).collect::<Vec<_>>().join(", ");
        self.layers
            .iter()
            .position(|l| l.name() == layer)
            .ok_or_else(|| Error::Request(format!("there is no layer {layer}, only {}", names())))
    }

    /// The bytes of a safetensors file with the weights, which [`Model::new`] reads.
    ///
    /// # Errors
    /// If the file can't be made.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let mut tensors = Vec::new();
        for layer in self.layers.iter().filter(|layer| layer.is_weighted()) {
            let (shape, weights) = layer.file_weights();
            tensors.push((format!("{}.weight", layer.name()), shape, bytes(&weights)));
            if layer.has_bias() {
                tensors.push((format!("{}.bias", layer.name()), vec![layer.bias().len()], bytes(layer.bias())));
            }
        }
        let views = tensors.iter().map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
        });
        let failed = |error| Error::Request(format!("the weights can't be written: {error}"));
        let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(failed)?;
        safetensors::serialize(views, None).map_err(failed)
    }

    /// Checks that a tensor can be the input, and returns its values and the number of its rows.
    pub(crate) fn check_input<'a>(&self, what: &str, input: &'a Tensor) -> Result<(&'a [f32], usize)> {
        require!(input.dtype() == DType::Float32, "{what} is {}, but the model reads float32", input.tensor_type());
        let rows = input.dims().first().copied().unwrap_or(0);
        let expected = self.input_shape(rows);
        require!(input.dims() == expected, "{what} is {:?}, but the model reads {expected:?}", input.dims());
        Ok((input.values()?, rows))
    }
}

/// A float32 tensor of a file.
fn read(file: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let names = || {
        let mut names = file.names();
        names.sort_unstable();
        names.join(", ")
    };
    let view =
        file.tensor(name).map_err(|_| Error::Request(format!("the weights have no {name}, only {}", names())))?;
    require!(
        view.dtype() == Dtype::F32 && view.shape() == shape,
        "{name} is {:?} {:?} in the weights, but F32 {shape:?} in the architecture",
        view.dtype(),
        view.shape()
    );
    Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
