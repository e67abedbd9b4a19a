//! Conversions between number formats.

pub(super) mod block;
pub(super) mod cast;
#[expect(clippy::module_inception, reason = "named as its loop in shaders/")]
pub(super) mod convert;
pub(super) mod dynamic;
pub(super) mod granularity;
pub(super) mod quantize;
pub(super) mod requantize;
