//! The JSON of a model's architecture, as serde reads and writes it. `model` checks that the layers fit together and reads
//! their weights.

use serde::{Deserialize, Serialize};

/// A list of layers. Each layer reads the output of the one before.
///
/// Fields that this crate doesn't know are ignored. Shapes are in PyTorch's order: `[channels, height, width]`, or
/// `[features]`.
///
/// ```
/// use lowbit::model::Architecture;
/// let json = r#"{ "name": "tiny", "input": { "shape": [1, 8, 8] }, "layers": [
///     { "name": "conv", "op": "conv2d", "in": 1, "out": 4, "kernel": [3, 3], "pads": [1, 1, 1, 1], "activation": "relu" },
///     { "name": "pool", "op": "global_average_pool" },
///     { "name": "fc", "op": "linear", "in": 4, "out": 10 } ] }"#;
/// let architecture: Architecture = serde_json::from_str(json)?;
/// assert_eq!(architecture.layers[2].name, "fc");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Architecture {
    /// The model's name.
    #[serde(default)]
    pub name: String,
    /// The model's input.
    pub input: Input,
    /// The layers, in order.
    pub layers: Vec<LayerSpec>,
}

/// The input of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Input {
    /// The shape of one image, `[channels, height, width]`, or of one row, `[features]`.
    pub shape: Vec<usize>,
}

/// A layer without its weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerSpec {
    /// The prefix of the names of its tensors: `<name>.weight`, `<name>.bias`.
    pub name: String,
    /// The operation.
    #[serde(flatten)]
    pub op: LayerOp,
    /// The activation function of its result, if any.
    #[serde(default)]
    pub activation: Option<Activation>,
    /// The expected shape of its result, for a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_shape: Option<Vec<usize>>,
}

/// The operation of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerOp {
    /// Cross-correlation; weights are `[out, in / groups, height, width]`.
    Conv2d {
        /// Input channels.
        #[serde(rename = "in")]
        inputs: usize,
        /// Output channels.
        #[serde(rename = "out")]
        outputs: usize,
        /// Height and width of the filters.
        kernel: [usize; 2],
        /// Steps of the window.
        #[serde(default = "ones")]
        stride: [usize; 2],
        /// Zeros above, left, below and right of the image.
        #[serde(default)]
        pads: [usize; 4],
        /// Distance between taps.
        #[serde(default = "ones")]
        dilation: [usize; 2],
        /// Number of independent groups of channels.
        #[serde(default = "one")]
        groups: usize,
        /// True if it adds a bias.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// A matrix product; weights are `[out, in]`. An image is read channel by channel, row by row.
    Linear {
        /// Input features.
        #[serde(rename = "in")]
        inputs: usize,
        /// Output features.
        #[serde(rename = "out")]
        outputs: usize,
        /// True if it adds a bias.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// The mean of each channel.
    GlobalAveragePool,
}

/// An activation function: a clamp of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// At least 0.
    Relu,
    /// 0 to 6.
    Relu6,
}

impl Activation {
    /// The least and greatest result.
    #[must_use]
    pub fn bounds(activation: Option<Self>) -> (f32, f32) {
        match activation {
            None => (f32::NEG_INFINITY, f32::INFINITY),
            Some(Self::Relu) => (0.0, f32::INFINITY),
            Some(Self::Relu6) => (0.0, 6.0),
        }
    }
}

fn one() -> usize {
    1
}

fn ones() -> [usize; 2] {
    [1, 1]
}

fn yes() -> bool {
    true
}
