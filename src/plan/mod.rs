//! A graph of ops, and its schedule for a device's caps: fused steps, their order, and the places of tensors. All of it is plain
//! data. `tune` chooses the kernels; `gpu` makes buffers and records.

mod candidates;
mod device_limits;
mod execute;
mod export;
mod extents;
mod fuse;
#[cfg(feature = "transformer")]
mod fuse_layers;
mod graph;
mod memory;
mod order;
mod schedule;
mod tabulate;

pub(crate) use candidates::CandidateLists;
pub use device_limits::DeviceLimits;
pub(crate) use execute::{execute, read, read_as};
pub use export::{
    ExportedBinding, ExportedBuffer, ExportedBytes, ExportedLaunch, ExportedPlan, ExportedRequirements, ExportedTensor,
};
pub use extents::Extent;
pub(crate) use graph::check_tensors;
pub use graph::{Graph, Value};
pub(crate) use memory::MemoryRules;
pub(crate) use schedule::{Frame, Launch, Schedule, Span, Storage};
