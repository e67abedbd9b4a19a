//! Ops that move elements.

pub(super) mod append;
pub(super) mod append_quantized;
pub(super) mod concat;
pub(super) mod gather;
mod moved;
pub(super) mod rearrange;
pub(super) mod reshape;
pub(super) mod resize;
pub(super) mod rotary_append;
pub(super) mod transpose;
