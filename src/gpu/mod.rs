//! The only place that names wgpu: devices, buffers, pipelines, recording and reading back. What to run comes from `plan`
//! and `kernels` as plain data.

mod bindings;
mod constants;
mod context;
mod device_tensor;
mod pipeline;
mod pipeline_cache;
mod plan;

pub use bindings::{Bindings, Workspace};
pub use context::{Context, ContextOptions, Counters};
pub use device_tensor::DeviceTensor;
pub use plan::{Plan, PlanOptions};
