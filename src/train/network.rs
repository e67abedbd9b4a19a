//! Trainable networks: a chain of layers in float, and the steps of its codes. `trainer` trains networks, `convert` makes
//! integer networks of them.

use crate::calibrate::{Clipping, Histograms, Observation, ScaleRule, Scheme};
use crate::error::{Result, require};
use crate::ops::{Bins, FloatConv, ObserveHistogram, Op, Windows};
use crate::reference;
use crate::tensor::{Granularity, Tensor, TensorType};

/// A layer. A ReLU follows each layer but the last.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Layer {
    /// A convolution. A fully connected layer is a 1 × 1 convolution over images of one pixel.
    Conv {
        /// float32 `[outputs, height, width, channels / groups]`.
        weights: Tensor,
        /// float32 `[outputs]`.
        bias: Tensor,
        /// Stride, padding and groups.
        windows: Windows,
    },
    /// The mean over all pixels; one pixel remains.
    GlobalAverage,
}

/// Bits of the codes of a layer's weights and of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Bits {
    /// Bits of weights: 2 to 8, signed.
    pub weights: u32,
    /// Bits of the layer's input activations: 2 to 8, unsigned.
    pub activations: u32,
}

impl Bits {
    /// Bits of weights, 2 to 8, and of activations, 2 to 8.
    #[must_use]
    pub const fn new(weights: u32, activations: u32) -> Self {
        Self { weights, activations }
    }

    /// The least and the greatest code of weights.
    pub(super) fn weight_codes(self) -> (i32, i32) {
        (-(1 << (self.weights - 1)), (1 << (self.weights - 1)) - 1)
    }

    /// The least and the greatest code of activations.
    pub(super) fn activation_codes(self) -> (i32, i32) {
        (0, (1 << self.activations) - 1)
    }
}

/// A float network that classifies images: a chain of layers.
#[derive(Debug, Clone)]
pub struct Network {
    /// Height, width, channels.
    pub(super) image: [usize; 3],
    pub(super) layers: Vec<Layer>,
    /// The dimensions of each layer's input and of the logits, without the batch.
    pub(super) shapes: Vec<[usize; 3]>,
}

impl Network {
    /// A network over images `[height, width, channels]` with non-negative numbers.
    ///
    /// # Errors
    /// If layers don't fit each other, a weight or bias is not finite, or the last layer is not a convolution to a single
    /// pixel.
    pub fn new(image: [usize; 3], layers: Vec<Layer>) -> Result<Self> {
        let mut shapes = vec![image];
        for (i, layer) in layers.iter().enumerate() {
            let [height, width, channels] = shapes[i];
            shapes.push(match layer {
                Layer::GlobalAverage => {
                    require!(
                        height > 0 && width > 0 && i + 1 < layers.len(),
                        "layer {i} averages {height} by {width} pixels, or is the last: there must be some, and a convolution after"
                    );
                    [1, 1, channels]
                }
                Layer::Conv { weights, bias, windows } => {
                    let conv = FloatConv::new(
                        TensorType::float32([1, height, width, channels])?,
                        weights.tensor_type().clone(),
                        *windows,
                    )
                    .build()?;
                    let [_, height, width, outputs] = crate::ops::four(conv.output());
                    require!(
                        bias.dims() == [outputs],
                        "the bias of layer {i} is {}, but it has {outputs} outputs",
                        bias.tensor_type()
                    );
                    for (name, tensor) in [("weight", weights), ("bias", bias)] {
                        let odd = tensor.values::<f32>()?.iter().find(|x| !x.is_finite());
                        require!(odd.is_none(), "a {name} of layer {i} is {}, but it must be finite", odd.unwrap_or(&0.0));
                    }
                    [height, width, outputs]
                }
            });
        }
        let last = shapes[shapes.len() - 1];
        require!(
            matches!(layers.last(), Some(Layer::Conv { .. })) && last[0] == 1 && last[1] == 1 && last[2] > 0,
            "the network ends with {last:?} (height, width, channels): it must end with a convolution to one pixel of classes"
        );
        Ok(Self { image, layers, shapes })
    }

    /// The layers, in order.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// This network with random weights (normal, variance 2 / terms of a sum; He et al., arXiv 1502.01852) and biases of 0.
    ///
    /// # Errors
    /// No others than [`Network::new`] has.
    pub fn randomized(&self, seed: u64) -> Result<Self> {
        let mut random = Random(seed);
        let mut layers = Vec::new();
        for layer in &self.layers {
            layers.push(match layer {
                Layer::GlobalAverage => Layer::GlobalAverage,
                Layer::Conv { weights, bias, windows } => {
                    let terms: usize = weights.dims()[1..].iter().product();
                    let deviation = (2.0 / terms.max(1) as f64).sqrt();
                    let count = weights.dims().iter().product();
                    let values: Vec<f32> = (0..count).map(|_| (deviation * random.normal()) as f32).collect();
                    Layer::Conv {
                        weights: Tensor::new(weights.dims(), values)?,
                        bias: Tensor::new(bias.dims(), vec![0.0f32; bias.dims()[0]])?,
                        windows: *windows,
                    }
                }
            });
        }
        Self::new(self.image, layers)
    }

    /// The input of each layer, then the logits, on the CPU in float. Images are float32 `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// If the images don't fit the network, or hold numbers that are negative or not finite.
    pub fn activations(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let mut all = vec![self.check(images)?.clone()];
        for (i, layer) in self.layers.iter().enumerate() {
            let x = &all[i];
            let batch = x.dims()[0];
            let [height, width, channels] = self.shapes[i + 1];
            let values = match layer {
                Layer::GlobalAverage => {
                    let pixels = self.shapes[i][0] * self.shapes[i][1];
                    let image = |image: &[f32]| {
                        let mean = |c| image.iter().skip(c).step_by(channels).sum::<f32>() / pixels as f32;
                        (0..channels).map(mean).collect::<Vec<_>>()
                    };
                    x.values::<f32>()?.chunks_exact(pixels * channels).flat_map(image).collect::<Vec<_>>()
                }
                Layer::Conv { weights, bias, windows } => {
                    let conv: Op = FloatConv::new(x.tensor_type().clone(), weights.tensor_type().clone(), *windows)
                        .build()?
                        .into();
                    let sums = reference::run(&conv, &[x, weights])?.remove(0);
                    let bias = bias.values::<f32>()?;
                    let least = if i + 1 == self.layers.len() { f32::MIN } else { 0.0 };
                    let add = |(j, &sum): (usize, &f32)| (sum + bias[j % channels]).max(least);
                    sums.values::<f32>()?.iter().enumerate().map(add).collect()
                }
            };
            all.push(Tensor::new([batch, height, width, channels], values)?);
        }
        Ok(all)
    }

    pub(super) fn check<'a>(&self, images: &'a Tensor) -> Result<&'a Tensor> {
        let [height, width, channels] = self.image;
        let fits = images.dims().len() == 4 && images.dims()[1..] == self.image;
        require!(
            fits,
            "the images are {}, but the network reads float32 [batch, {height}, {width}, {channels}]",
            images.tensor_type()
        );
        let odd = images.values::<f32>()?.iter().find(|x| !x.is_finite() || **x < 0.0);
        require!(odd.is_none(), "an image holds {}, but it must be finite and not negative", odd.unwrap_or(&0.0));
        Ok(images)
    }

    /// The network with codes of these bits, one entry for all layers or one for each, and initial steps. The steps have the
    /// least squared error, for weights on the weights themselves, for activations on the float activations of the calibration
    /// images.
    ///
    /// # Errors
    /// If bits are out of range, their number is neither 1 nor the number of layers, or there are no images.
    pub fn quantized(&self, bits: &[Bits], images: &Tensor) -> Result<Quantized> {
        let count = self.layers.len();
        require!(
            bits.len() == 1 || bits.len() == count,
            "bits were given for {} layers, but the network has {count}: give one for all, or as many",
            bits.len()
        );
        let bits: Vec<Bits> = (0..count).map(|i| bits[if bits.len() == 1 { 0 } else { i }]).collect();
        for (i, bits) in bits.iter().enumerate() {
            require!(
                (2..=8).contains(&bits.weights) && (2..=8).contains(&bits.activations),
                "layer {i} has weights of {} and activations of {} bits, but both may be 2 to 8",
                bits.weights,
                bits.activations
            );
        }
        let activations = self.activations(images)?;
        let (mut steps, mut weight_steps) = (Vec::new(), Vec::new());
        for (i, layer) in self.layers.iter().enumerate() {
            let codes = bits[i].activation_codes();
            steps.push(first_steps(&activations[i], Granularity::Tensor, codes, ScaleRule::Span)?[0]);
            weight_steps.push(match layer {
                Layer::GlobalAverage => Vec::new(),
                Layer::Conv { weights, .. } => {
                    first_steps(weights, Granularity::Axis(0), bits[i].weight_codes(), ScaleRule::NoClipping)?
                }
            });
        }
        Ok(Quantized { network: self.clone(), bits, steps, weight_steps })
    }
}

/// The steps with the least squared error; 1 if all numbers are zero.
fn first_steps(x: &Tensor, granularity: Granularity, (low, high): (i32, i32), scale: ScaleRule) -> Result<Vec<f32>> {
    let op = ObserveHistogram::new(x.tensor_type().clone(), granularity, Bins::new(4096)?)?;
    let words = op.state().shape().elements();
    let empty = Tensor::new(op.state().dims(), vec![0i32; words])?;
    let state = reference::run(&op.clone().into(), &[x, &empty])?.remove(0);
    let seen = Observation::Histograms(Histograms::from_state(&op, &state)?);
    let scheme = Scheme::new(scale, (low, high))?;
    Ok(seen.quantization(Clipping::Mse, &scheme)?.scales().to_vec())
}

/// A network with the steps of its codes.
#[derive(Debug, Clone)]
pub struct Quantized {
    pub(super) network: Network,
    pub(super) bits: Vec<Bits>,
    /// The step of each layer's input.
    pub(super) steps: Vec<f32>,
    /// The steps of each layer's weights, one per output.
    pub(super) weight_steps: Vec<Vec<f32>>,
}

impl Quantized {
    /// The float network, whose weights are rounded in the quantized one.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The step of each layer's input.
    #[must_use]
    pub fn steps(&self) -> &[f32] {
        &self.steps
    }

    /// The steps of each layer's weights, one per output; none for a layer without weights.
    #[must_use]
    pub fn weight_steps(&self) -> &[Vec<f32>] {
        &self.weight_steps
    }

    /// The bits of each layer.
    #[must_use]
    pub fn bits(&self) -> &[Bits] {
        &self.bits
    }

    /// The bytes of all weights' codes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let bits = |(layer, bits): (&Layer, &Bits)| match layer {
            Layer::GlobalAverage => 0,
            Layer::Conv { weights, .. } => weights.tensor_type().shape().elements() * bits.weights as usize,
        };
        self.network.layers.iter().zip(&self.bits).map(bits).sum::<usize>().div_ceil(8)
    }
}

/// The generator SplitMix64, and distributions from it.
#[derive(Debug)]
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Normally distributed, by the Box–Muller transform.
    fn normal(&mut self) -> f64 {
        let mut share = || ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (a, b) = (share(), share());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}
