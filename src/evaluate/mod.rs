//! The cost of quantization: a quantized model against its float original on the same data, in errors, predictions, robustness,
//! bytes and energy. `ptq` makes quantized models. [`evaluate`] does everything in one call.

mod cost;
mod metrics;
#[cfg(all(feature = "page", not(target_arch = "wasm32")))]
mod page;
#[cfg(not(target_arch = "wasm32"))]
mod report;
mod robustness;
#[cfg(not(target_arch = "wasm32"))]
mod runner;

pub use crate::model::noise::noise_to_signal;
pub use cost::{Cost, Energy};
pub use metrics::{Calibration, ConfidenceInterval, Metrics, accuracy, calibration, classes};
#[cfg(not(target_arch = "wasm32"))]
pub use report::{Alternative, Dataset, Histogram, LayerReport, Options, Report, Side, evaluate};
pub use robustness::{Perturbation, Robustness};
#[cfg(not(target_arch = "wasm32"))]
pub use runner::{Device, Runner};
