//! Convolutions of integer codes, and the patches of their windows.

pub(super) mod conv;
pub(super) mod loops;
pub(super) mod phase;
pub(super) mod unfold;
pub(super) mod weights;
