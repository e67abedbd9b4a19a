//! lowbit

mod error;
pub mod gpu;
pub mod kernels;
pub mod numeric;
pub mod ops;
pub mod pack;
mod plan;
pub mod reference;
mod tensor;
mod tune;

pub use error::{Error, Result};
pub use gpu::{Context, ContextOptions, Counters, DeviceTensor, Plan};
pub use numeric::{Format, Rounding};
pub use plan::{Graph, Value};
pub use tensor::{Element, Granularity, Quantization, Shape, Tensor, TensorType};
pub use tune::Tuner;
