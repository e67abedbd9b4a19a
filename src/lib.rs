//! GPU compute kernels for quantized neural networks, in WGSL, on any GPU that [wgpu](https://wgpu.rs) reaches, with a CPU
//! reference that defines every kernel's results.
//!
//! * **Equal means equal.** Every integer result is bit-identical on every adapter and on the CPU: accumulation, zero
//!   points, and requantization in each rounding mode. Dequantized f32 results are bit-identical too: each operation is correctly
//!   rounded in integer arithmetic. Sums of floats have a bound that the op documents and [`reference::tolerance`] computes.
//! * **Any shape.** Any m, n, k, any channel count and group size, batch, stride, dilation and padding. Empty tensors
//!   are legal.
//! * **Errors, not surprises.** A request is validated when an op is made; the message names both numbers and what to
//!   change. No public call panics.
//!
//! # The map
//!
//! An **op** says *what* is computed. The **reference** defines its *result*. A **kernel** says *how* a GPU can compute it.
//! **Tune** chooses *which* kernel. **Plan** decides *when and where*. **Gpu** runs it.
//!
//! | To … | use |
//! |---|---|
//! | hold codes with their scales | [`Tensor`], [`TensorType`], [`Quantization`], [`Granularity`], [`DType`] |
//! | describe a computation | [`ops`]: [`Matmul`](ops::Matmul), [`Conv`](ops::Conv), [`Requantize`](ops::Requantize), [`Quantize`](ops::Quantize), [`Dequantize`](ops::Dequantize), [`DynamicQuantize`](ops::DynamicQuantize), [`Add`](ops::Add), [`Multiply`](ops::Multiply), [`Pool`](ops::Pool), [`ChannelGate`](ops::ChannelGate), [`Resize`](ops::Resize), [`Table`](ops::Table), [`Cast`](ops::Cast), [`Concat`](ops::Concat), [`Transpose`](ops::Transpose), [`Slice`](ops::Slice), [`Pad`](ops::Pad), [`Reshape`](ops::Reshape), [`FloatMatmul`](ops::FloatMatmul), [`FloatUnary`](ops::FloatUnary), [`FloatBinary`](ops::FloatBinary), [`Select`](ops::Select), [`Reduce`](ops::Reduce), [`FloatPool`](ops::FloatPool), [`Gather`](ops::Gather), [`Softmax`](ops::Softmax), [`QuantizedSoftmax`](ops::QuantizedSoftmax), [`LayerNorm`](ops::LayerNorm), [`ArgMax`](ops::ArgMax), [`TopK`](ops::TopK), [`Unfold`](ops::Unfold), [`Attention`](ops::Attention), [`Rotary`](ops::Rotary), [`Append`](ops::Append) |
//! | hold floats of 8, 6 and 4 bits | [`numeric::E4M3FN`], [`numeric::E5M2`], [`numeric::E2M3`], [`numeric::E3M2`], [`numeric::E2M1`], [`numeric::E8M0`] |
//! | quantize in blocks: MX, NVFP4 | [`numeric::BlockFormat`], [`ops::BlockQuantize`], [`ops::BlockDequantize`], [`weights::PackedWeights::from_blocks`] |
//! | multiply int16 activations (TFLite's 16x8) | [`Matmul`](ops::Matmul), [`Conv`](ops::Conv), [`MatmulBuilder::wide_bias`](ops::MatmulBuilder::wide_bias), [`Rounding::FixedWide`] |
//! | choose the output of accumulators | [`ops::Output`], [`ops::Requantization`], [`Rounding`] |
//! | know the right answer | [`reference::run`], [`Graph::run_reference`] |
//! | get a device, or bring your own | [`Context::new`], [`Context::from_device`] |
//! | put tensors on it, or bring your buffers | [`Context::upload`], [`DeviceTensor::from_buffer`] |
//! | run one op and wait | [`Context::run`] |
//! | run a network in one submission | [`Graph`], [`Context::plan`], [`Plan`] |
//! | record into your own encoder | [`Plan::bind`], [`Plan::record`] |
//! | bound and supply the memory of intermediates | [`Plan::workspace_bytes`], [`Workspace`] |
//! | run batches or sequences of any length | [`Graph::extent`], [`Graph::dynamic_input`] |
//! | keep a cache on the device and change it in place | [`Graph::state`], [`Append`](ops::Append), [`AppendQuantized`](ops::AppendQuantized), [`Attention`](ops::Attention) |
//! | run a plan without this crate: another wgpu, Dawn, JavaScript | [`Plan::export`], [`Graph::export`], [`ExportedPlan`] |
//! | see what was fused, and check it | [`Plan`]'s `Display`, [`Plan::verify`] |
//! | let this device choose the kernels, and keep its choice | [`Tuner::Measured`], [`Context::save_tuning`], [`Context::load_tuning`] |
//! | know what this device can do | [`Context::probe_blocking`], [`Probe`] |
//! | tell kernels what wgpu doesn't report | [`Context::with_target_invocations`], [`Context::with_emulated_dot4`], [`Context::with_coop_matrices`], [`Context::tested`] |
//! | see, test or time every kernel | [`Tuner::Nth`]; [`kernels::candidates`], with the feature `unstable-kernels` |
//! | hold weights in codes of 2 to 8 bits with scales in groups | [`weights`] |
//! | multiply by such weights, choose experts, gather rows | [`Linear`](ops::Linear), [`Embedding`](ops::Embedding) |
//! | leave weights in their file until they are uploaded, or bring them to each run | [`weights::PackedWeights::deferred`], [`bound`](weights::PackedWeights::bound) |
//! | quantize real weights, on the CPU or a device | [`weights::Quantizer`], [`ops::QuantizeWeights`] |
//! | convolve floats, or with such weights | [`LinearConv`](ops::LinearConv) |
//! | read weights from GGUF, GPTQ, AWQ, ONNX or torchao files | [`import`] |
//! | run a network from an ONNX file, bit for bit as ONNX Runtime does | [`onnx`] |
//! | run a quantized network from a TensorFlow Lite file | [`tflite`] |
//! | quantize weights to GGUF's types, write GGUF files | [`import::gguf`] |
//! | observe ranges and histograms, and make scales of them | [`calibrate`], [`ops::ObserveRange`], [`ops::ObserveHistogram`] |
//! | train with quantization | [`train`], [`ops::FakeQuantize`], [`ops::FakeRequantize`], [`ops::StepFromRange`], [`ops::FloatConv`], [`ops::OptimizerStep`] |
//! | hold a small float model, and run it on the CPU or a GPU | [`model`] |
//! | quantize a float model after training, choose the bits of each layer | [`ptq`] |
//! | round single matrices by statistics of their inputs (GPTQ) | [`ptq::Moments`] |
//! | know what quantization cost: errors, predictions, robustness, bytes | [`evaluate`] |
//! | know the bytes in device memory | [`pack`] |
//!
//! # A quantized layer
//!
//! Real numbers are `scale · (code − zero_point)`. A layer multiplies uint8 activations with int8 weights into exact i32
//! accumulators and requantizes them:
//!
//! ```
//! use lowbit::ops::{Matmul, Requantization};
//! use lowbit::{DType, Quantization, Tensor, reference};
//!
//! // Two rows of four activations, and a weight matrix [out = 3, in = 4] with a scale per output.
//! let activations = Tensor::new([2, 4], vec![12u8, 0, 255, 7, 128, 128, 128, 128])?
//!     .quantized(Quantization::tensor(0.02, 128))?;
//! let weights = Tensor::new([3, 4], vec![1i8, -2, 3, -4, 127, 0, 0, -127, 5, 6, 7, 8])?
//!     .quantized(Quantization::symmetric_axis(0, [0.01, 0.002, 0.03]))?;
//! let bias = Tensor::new([3], vec![100i32, -50, 0])?;
//!
//! let layer = Matmul::new(activations.tensor_type().clone(), weights)
//!     .transposed()
//!     .bias(bias)
//!     .output(Requantization::new(DType::Uint8, 0.05, 10)?.relu())
//!     .build()?
//!     .into();
//! let out = reference::run(&layer, &[&activations])?;
//! assert_eq!(out[0].values::<u8>()?, [14, 10, 10, 10, 10, 10]);
//!
//! // The same bits on a GPU, where there is one.
//! # #[cfg(not(target_arch = "wasm32"))]
//! if let Ok(context) = lowbit::Context::new_blocking() {
//!     assert_eq!(context.run_blocking(&layer, &[&activations])?, out);
//! }
//! # Ok::<(), lowbit::Error>(())
//! ```
//!
//! # In your engine
//!
//! [`Context::from_device`] takes your device and queue, [`DeviceTensor::from_buffer`] your buffers, and [`Plan::record`]
//! your encoder. Recording submits nothing and allocates nothing. The [`guide`] shows it step by step.
//! Convolutions take images as `[batch, spatial…, channels]`.
//!
//! In device memory a row (the last dimension) of k 8-bit codes takes ⌈k / 16⌉ · 16 bytes. Code i of row r is byte i of the row at
//! r · stride. The rest of the row is padding, which readers ignore and writers fill with zeros. In general a row with b < 32 bits
//! per element takes ⌈k · b / 128⌉ · 16 bytes; of several elements in a byte the first is in its low bits. int32 and float32 are
//! dense. Parameters of dynamic quantization are f32 bits, then an i32 zero point. A buffer has at least 16 bytes
//! ([`TensorType::device_bytes`]). The crate's `wgpu` and `half` are re-exported.
//!
//! Without a GPU a CPU library serves you better: the reference is written for correctness, not speed.
//!
//! # Versions
//!
//! Semantic versioning holds for all that is public, except for `kernels` (with the feature `unstable-kernels`), and texts for
//! people: messages, labels and `Display`. Enums and structs of options and results may grow. An op is made by
//! `X::new(types of the inputs, what else it needs)`: that is the op's `Result`, or a builder of its options with `.build()`.

#![cfg_attr(
    not(all(feature = "wgpu", feature = "transformer")),
    allow(dead_code, unused_imports, reason = "devices and further ops use the rest")
)]

pub use half;
#[cfg(feature = "wgpu")]
pub use wgpu;

#[cfg(feature = "calibrate")]
pub mod calibrate;
mod error;
#[cfg(feature = "quantize")]
pub mod evaluate;
#[cfg(feature = "wgpu")]
mod gpu;
#[cfg(feature = "wgpu")]
pub mod guide;
#[cfg(feature = "import")]
pub mod import;
#[cfg(feature = "unstable-kernels")]
pub mod kernels;
#[cfg(not(feature = "unstable-kernels"))]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "tools read all of it, with the feature unstable-kernels")]
pub(crate) mod kernels;
#[cfg(feature = "quantize")]
pub mod model;
#[cfg(any(feature = "onnx", feature = "tflite"))]
mod network;
pub mod numeric;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
mod plan;
#[cfg(feature = "quantize")]
pub mod ptq;
pub mod reference;
mod tensor;
#[cfg(feature = "tflite")]
pub mod tflite;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "wgpu")]
mod tune;
pub mod weights;

pub use error::{Error, Result};
#[cfg(feature = "wgpu")]
pub use gpu::{
    Bindings, Comparison, Context, ContextOptions, Counters, DeviceTensor, Plan, PlanAt, PlanOptions, Probe, Report,
    Workspace,
};
#[cfg(any(feature = "onnx", feature = "tflite"))]
pub use network::{Network, Port};
pub use numeric::format::DType;
pub use numeric::rounding::{Multiplier, Rounding};
pub use plan::{
    DeviceLimits, ExportedBinding, ExportedBuffer, ExportedBytes, ExportedLaunch, ExportedPlan, ExportedRequirements,
    ExportedTensor, Extent, Graph, Value,
};
pub use tensor::pack;
pub use tensor::{Element, Granularity, Quantization, Shape, Tensor, TensorType};
#[cfg(feature = "wgpu")]
pub use tune::Tuner;

/// The README's example must compile.
#[cfg(all(doctest, feature = "import", feature = "quantize"))]
#[doc = include_str!("../README.md")]
struct Readme;
