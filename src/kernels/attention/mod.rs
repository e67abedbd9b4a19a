//! Attention over caches.

#[allow(clippy::module_inception, reason = "equal stems mean equal subjects")]
pub(super) mod attention;
