//! Ops that move elements.

#[cfg(feature = "transformer")]
pub(super) mod append;
#[cfg(feature = "transformer")]
pub(super) mod append_quantized;
pub(super) mod concat;
#[cfg(feature = "float")]
pub(super) mod gather;
mod moved;
pub(super) mod rearrange;
pub(super) mod reshape;
pub(super) mod resize;
#[cfg(feature = "transformer")]
pub(super) mod rotary_append;
pub(super) mod transpose;
