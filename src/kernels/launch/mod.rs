//! Launches and programs as data.

pub(super) mod dispatch;
pub(super) mod program;
