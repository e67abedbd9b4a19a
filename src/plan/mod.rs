//! When and where: a graph of ops, and its schedule for a device's caps: what is fused, in which order it runs, and where
//! each tensor lies. All of it is plain data; which kernel is `tune`'s choice, buffers and recording are `gpu`'s.

mod candidates;
mod execute;
mod fuse;
mod graph;
mod memory;
mod order;
mod schedule;

pub(crate) use candidates::CandidateLists;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use execute::{execute, read};
pub(crate) use graph::check_tensors;
pub use graph::{Graph, Value};
pub(crate) use memory::MemoryRules;
pub(crate) use schedule::{Frame, Launch, Storage};
