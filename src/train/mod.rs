//! Quantization-aware training on the device. Weights and activations are fake-quantized with learned steps (LSQ), training
//! steps are recorded one after the other, and the trained network converts to an integer network with equal bits. The meaning
//! of single ops is in `ops`.
//!
//! Weights have signed codes with a step per output. Activations have unsigned codes (after a ReLU) with a step per tensor and
//! the zero point 0. A layer's forward pass does the integer layer's operations: it multiplies and adds whole numbers in
//! float32, where they are exact below 2^24, and rescales as [`Rounding::Onnx`](crate::Rounding::Onnx) does. So the logits of
//! the [`Quantized::integer`] network are equal, not just close.
//!
//! ```
//! use lowbit::train::{Bits, Layer, Network};
//! use lowbit::{Tensor, ops::Windows};
//! // One layer: 4 numbers to 2 classes.
//! let weights = Tensor::new([2, 1, 1, 4], vec![0.5f32, -0.5, 0.25, 0.0, -0.5, 0.5, 0.0, 0.25])?;
//! let layer = Layer::Conv { weights, bias: Tensor::new([2], vec![0.0f32, 0.1])?, windows: Windows::default() };
//! let network = Network::new([1, 1, 4], vec![layer])?;
//! let images = Tensor::new([2, 1, 1, 4], vec![1.0f32, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.5])?;
//! let quantized = network.quantized(&[Bits::new(4, 8)], &images)?;
//! let logits = quantized.fake(2)?.run_reference(&quantized.inputs(&images)?.iter().collect::<Vec<_>>())?;
//! assert_eq!(quantized.integer(2)?.run_reference(&[&images])?, logits);
//! # Ok::<(), lowbit::Error>(())
//! ```

mod convert;
mod network;
mod trainer;

pub use network::{Bits, Layer, Network, Quantized};
pub use trainer::{ActivationSteps, Options, Trainer};
