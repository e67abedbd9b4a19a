//! The JSON that says which layers a model has, in order, as serde reads and writes it. Whether they fit together, and their
//! weights, is checked in `model`.

use serde::{Deserialize, Serialize};

/// A list of layers, each reading what the one before made.
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
pub struct Architecture {
    /// What it is called.
    #[serde(default)]
    pub name: String,
    /// What it reads.
    pub input: Input,
    /// In order.
    pub layers: Vec<LayerSpec>,
}

/// What a model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Of one image, `[channels, height, width]`, or of one row, `[features]`.
    pub shape: Vec<usize>,
}

/// A layer, before its weights are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSpec {
    /// The prefix of its tensors: `<name>.weight`, `<name>.bias`.
    pub name: String,
    /// What it computes.
    #[serde(flatten)]
    pub op: LayerOp,
    /// What becomes of its result.
    #[serde(default)]
    pub activation: Option<Activation>,
    /// The shape of what it makes, for a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_shape: Option<Vec<usize>>,
}

/// What a layer computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerOp {
    /// Cross-correlation; weights are `[out, in / groups, height, width]`.
    Conv2d {
        /// Channels that it reads.
        #[serde(rename = "in")]
        inputs: usize,
        /// Channels that it makes.
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
        /// Distance of the taps.
        #[serde(default = "ones")]
        dilation: [usize; 2],
        /// Independent groups of channels.
        #[serde(default = "one")]
        groups: usize,
        /// Whether it adds a bias.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// A matrix product; weights are `[out, in]`. Of an image it reads channels, rows and columns, in this order.
    Linear {
        /// Features that it reads.
        #[serde(rename = "in")]
        inputs: usize,
        /// Features that it makes.
        #[serde(rename = "out")]
        outputs: usize,
        /// Whether it adds a bias.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// The mean of each channel.
    GlobalAveragePool,
}

/// A clamp of results.
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
