//! Convolutions of integer codes, and the patches of their windows.

#[expect(clippy::module_inception, reason = "named as its loop in shaders/")]
pub(super) mod conv;
pub(super) mod loops;
pub(super) mod phase;
pub(super) mod unfold;
pub(super) mod weights;
