//! Launches and programs as data.

#[cfg(any(test, target_arch = "wasm32"))]
mod compact;
pub(super) mod dispatch;
pub(super) mod program;
