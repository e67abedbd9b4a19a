//! Products and rows of weights in groups (`weights`), and their quantization on a device.

pub(super) mod embedding;
pub(super) mod linear;
pub(super) mod linear_conv;
pub(super) mod quantize_weights;
pub(super) mod weights;
