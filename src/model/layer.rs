//! One layer of a model: its window, its weights as a matrix with a row per output, and checks of both. Its arithmetic is in
//! `float`.

use std::collections::HashSet;

use super::arch::{Activation, Architecture, LayerOp, LayerSpec};
use crate::error::{Result, require};

/// The extents of an image. A row is an image of one pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels, or features.
    pub channels: usize,
}

impl Image {
    /// Number of elements.
    #[must_use]
    pub fn elements(self) -> usize {
        self.height * self.width * self.channels
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// The window of a layer's filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Zeros above and left.
    pub begin: [usize; 2],
    /// Zeros below and right.
    pub end: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Number of independent groups of channels.
    pub groups: usize,
}

/// A layer with its weights. A linear layer is a convolution whose filters are as large as its input.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    name: String,
    /// `None` for global average pooling.
    window: Option<Window>,
    input: Image,
    output: Image,
    activation: Option<Activation>,
    /// `[outputs][tap][channel of the group]`.
    weights: Vec<f32>,
    /// One per output; 0 if the layer has no bias.
    bias: Vec<f32>,
    has_bias: bool,
    /// The shape of the weights in files.
    file_shape: Vec<usize>,
}

/// The greatest number of elements of an image or a weight matrix.
const MOST: usize = 1 << 31;

/// The layers of an architecture, with parameters from `read(name, shape)`.
pub(super) fn layers(
    architecture: &Architecture,
    read: impl Fn(&str, &[usize]) -> Result<Vec<f32>>,
) -> Result<Vec<Layer>> {
    let mut input = match architecture.input.shape[..] {
        [channels, height, width] => Image { height, width, channels },
        [channels] => Image { height: 1, width: 1, channels },
        _ => {
            require!(
                false,
                "the input's shape is {:?}, but it must be [channels, height, width] or [features]",
                architecture.input.shape
            );
            return Ok(Vec::new());
        }
    };
    let image = |image: Image| {
        let elements =
            [image.height, image.width].iter().try_fold(image.channels, |product, &d| product.checked_mul(d));
        elements.is_some_and(|elements| (1..=MOST).contains(&elements))
    };
    require!(image(input), "the input's shape is {:?}: empty or too large", architecture.input.shape);
    require!(!architecture.layers.is_empty(), "the architecture has no layers: give it one");
    let (mut layers, mut names) = (Vec::new(), HashSet::new());
    for spec in &architecture.layers {
        require!(names.insert(&spec.name), "two layers are called {}: their weights couldn't be told apart", spec.name);
        let layer = Layer::new(spec, input, &read)?;
        require!(image(layer.output), "layer {} makes an image of {:?}: too large", spec.name, layer.output);
        input = layer.output;
        layers.push(layer);
    }
    Ok(layers)
}

impl Layer {
    fn new(spec: &LayerSpec, input: Image, read: &impl Fn(&str, &[usize]) -> Result<Vec<f32>>) -> Result<Self> {
        let name = &spec.name;
        let (window, inputs, outputs, has_bias) = match spec.op {
            LayerOp::GlobalAveragePool => (None, input.channels, input.channels, false),
            LayerOp::Linear { inputs, outputs, bias } => {
                let window = Window {
                    kernel: [input.height, input.width],
                    stride: [1, 1],
                    begin: [0, 0],
                    end: [0, 0],
                    dilation: [1, 1],
                    groups: 1,
                };
                require!(
                    inputs == input.elements(),
                    "layer {name} reads {inputs} features, but there are {} ({input:?})",
                    input.elements()
                );
                (Some(window), input.channels, outputs, bias)
            }
            LayerOp::Conv2d { inputs, outputs, kernel, stride, pads, dilation, groups, bias } => {
                let [top, left, bottom, right] = pads;
                let window = Window { kernel, stride, begin: [top, left], end: [bottom, right], dilation, groups };
                (Some(window), inputs, outputs, bias)
            }
        };
        require!(
            inputs == input.channels,
            "layer {name} reads {inputs} channels, but the layer before makes {}",
            input.channels
        );
        require!(outputs > 0, "layer {name} makes 0 outputs: give it at least 1");
        let output = match window {
            None => Image { height: 1, width: 1, channels: outputs },
            Some(window) => {
                let [height, width] = window.output(name, input)?;
                Image { height, width, channels: outputs }
            }
        };
        if let Some(given) = &spec.out_shape {
            let channels_first = [output.channels, output.height, output.width];
            let flat = output.pixels() == 1 && given[..] == [output.channels];
            require!(
                given[..] == channels_first || flat,
                "the architecture says that layer {name} makes {given:?}, but it makes {channels_first:?}"
            );
        }
        let mut layer = Self {
            name: name.clone(),
            window,
            input,
            output,
            activation: spec.activation,
            weights: Vec::new(),
            bias: Vec::new(),
            has_bias,
            file_shape: Vec::new(),
        };
        let Some(window) = window else { return Ok(layer) };
        require!(
            window.groups > 0 && inputs % window.groups == 0 && outputs % window.groups == 0,
            "layer {name} has {} groups, which must divide its {inputs} input and {outputs} output channels",
            window.groups
        );
        let per_group = inputs / window.groups;
        let length = [window.kernel[1], per_group, outputs].iter().try_fold(window.kernel[0], |p, &d| p.checked_mul(d));
        require!(
            length.is_some_and(|length| length <= MOST),
            "layer {name} would have more than {MOST} weights: too many"
        );
        let [height, width] = window.kernel;
        layer.file_shape = match spec.op {
            LayerOp::Linear { .. } => vec![outputs, per_group * height * width],
            _ => vec![outputs, per_group, height, width],
        };
        let weights = read(&format!("{name}.weight"), &layer.file_shape)?;
        let bias = if has_bias { read(&format!("{name}.bias"), &[outputs])? } else { vec![0.0; outputs] };
        // Moves channels from before the taps to after them.
        let taps = height * width;
        let row = |row: &[f32]| -> Vec<f32> {
            (0..taps * per_group).map(|i| row[i % per_group * taps + i / per_group]).collect()
        };
        layer.set_parameters(weights.chunks_exact(taps * per_group).flat_map(row).collect(), bias)?;
        Ok(layer)
    }

    pub(super) fn set_parameters(&mut self, weights: Vec<f32>, bias: Vec<f32>) -> Result<()> {
        let (name, outputs) = (&self.name, self.output.channels);
        let expected = if self.window.is_some() { (outputs * self.row_length(), outputs) } else { (0, 0) };
        require!(
            (weights.len(), bias.len()) == expected,
            "{} weights and {} biases were given, but layer {name} has {} and {}",
            weights.len(),
            bias.len(),
            expected.0,
            expected.1
        );
        for (what, values) in [("weight", &weights), ("bias", &bias)] {
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                require!(
                    false,
                    "{what} {index} of layer {name} is {}, but weights must be finite: mend the model file",
                    values[index]
                );
            }
        }
        (self.weights, self.bias) = (weights, bias);
        Ok(())
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The extents of the input.
    #[must_use]
    pub fn input(&self) -> Image {
        self.input
    }

    /// The extents of the output.
    #[must_use]
    pub fn output(&self) -> Image {
        self.output
    }

    /// The window of the filters; `None` for a layer without weights.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.window
    }

    /// The activation function, if any.
    #[must_use]
    pub fn activation(&self) -> Option<Activation> {
        self.activation
    }

    /// True if the layer has weights.
    #[must_use]
    pub fn is_weighted(&self) -> bool {
        self.window.is_some()
    }

    /// True if the file holds a bias for the layer.
    #[must_use]
    pub fn has_bias(&self) -> bool {
        self.has_bias
    }

    /// The weights: a row per output. A row holds, tap by tap, the channels of the output's group.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The bias of each output.
    #[must_use]
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The length of a row of weights; 0 for a layer without weights.
    #[must_use]
    pub fn row_length(&self) -> usize {
        self.window.map_or(0, |w| w.kernel[0] * w.kernel[1] * self.input.channels / w.groups)
    }

    /// Multiplications by weights for one row or image.
    #[must_use]
    pub fn multiplications(&self) -> u64 {
        self.output.elements() as u64 * self.row_length() as u64
    }

    /// Number of channels that an output reads.
    pub(crate) fn channels_per_group(&self) -> usize {
        self.window.map_or(0, |w| self.input.channels / w.groups)
    }

    /// Number of outputs of a group.
    pub(crate) fn outputs_per_group(&self) -> usize {
        self.window.map_or(0, |w| self.output.channels / w.groups)
    }

    /// True if the layer is a matrix product: one group, an input of one pixel, and filters that read all of it.
    pub(crate) fn is_matmul(&self) -> bool {
        self.window.is_some_and(|w| w.groups == 1)
            && self.input.pixels() == 1
            && self.row_length() == self.input.channels
    }

    /// Shape and weights in the order of files.
    pub(crate) fn file_weights(&self) -> (Vec<usize>, Vec<f32>) {
        let per_group = self.channels_per_group();
        let taps = self.row_length() / per_group.max(1);
        let row =
            |row: &[f32]| -> Vec<f32> { (0..taps * per_group).map(|i| row[i % taps * per_group + i / taps]).collect() };
        (self.file_shape.clone(), self.weights.chunks_exact(self.row_length()).flat_map(row).collect())
    }
}

impl Window {
    /// Height and width of the output.
    fn output(self, name: &str, input: Image) -> Result<[usize; 2]> {
        let mut output = [0; 2];
        for (axis, extent) in [input.height, input.width].into_iter().enumerate() {
            let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
            let (begin, end) = (self.begin[axis], self.end[axis]);
            require!(
                kernel > 0 && stride > 0 && dilation > 0,
                "layer {name} has kernel {kernel}, stride {stride} and dilation {dilation}: each must be at least 1"
            );
            require!(
                [kernel, stride, dilation, begin, end].iter().all(|&value| value < 1 << 24),
                "layer {name} has kernel {kernel}, stride {stride}, dilation {dilation} and padding {begin}, {end}: too large"
            );
            let reach = (kernel - 1) * dilation + 1;
            require!(
                extent + begin + end >= reach,
                "the filters of layer {name} reach over {reach} elements, but its padded input has {}",
                extent + begin + end
            );
            output[axis] = (extent + begin + end - reach) / stride + 1;
        }
        Ok(output)
    }
}
