//! Statistics of tensors: ranges and histograms.

pub(super) mod members;
pub(super) mod observe;
pub(super) mod step_from_range;
