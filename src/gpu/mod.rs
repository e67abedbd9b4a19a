//! The only place that names wgpu: devices, buffers, pipelines, recording and reading back. What to run comes from `plan`
//! and `kernels` as plain data.

mod choose;
mod context;
mod device_tensor;
#[cfg(not(target_arch = "wasm32"))]
mod measure;
mod pipeline;
mod plan;
#[cfg(not(target_arch = "wasm32"))]
mod probe;
#[cfg(not(target_arch = "wasm32"))]
mod stopwatch;

pub use context::{Context, ContextOptions, Counters};
pub use device_tensor::DeviceTensor;
pub use plan::Plan;
#[cfg(not(target_arch = "wasm32"))]
pub use probe::Probe;
