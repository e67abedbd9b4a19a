//! The only module that uses wgpu: devices, buffers, pipelines, recording and readback. `plan` and `kernels` describe the launches
//! as plain data.

mod bindings;
mod caps;
mod choose;
mod constants;
mod context;
mod device_tensor;
mod errors;
mod measure;
mod pipeline;
mod pipeline_cache;
mod plan;
mod probe;
mod readback;
mod single;
mod stopwatch;
mod verify;
mod wait;
mod warm;
#[cfg(target_arch = "wasm32")]
mod web;

/// Locks a mutex. A poisoned lock means that another thread panicked while holding it; the data guarded here are still consistent.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub use bindings::{Bindings, Workspace};
pub use context::{Context, ContextOptions, Counters};
pub use device_tensor::DeviceTensor;
pub use plan::{Plan, PlanAt, PlanOptions};
pub use probe::Probe;
pub use verify::{Comparison, Report};
