//! Gradients and steps of quantization-aware training.

pub(super) mod cross_entropy;
pub(super) mod fake_quantize;
pub(super) mod fake_requantize;
pub(super) mod float_conv;
pub(super) mod optimizer_step;
pub(super) mod sum;
