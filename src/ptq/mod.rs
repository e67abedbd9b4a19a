//! Post-training quantization: from a float model and some data to integer weights. Each step is a function and can be left
//! out. The quantized model and its execution are in `quantized`; `hybrid` chooses the bits of each layer.
//!
//! | step | function | source |
//! |---|---|---|
//! | rescale neighbouring layers | [`equalize`], [`smooth`], [`awq`] | CLE, SmoothQuant, AWQ |
//! | choose the range of weights | [`WeightClipping`] | min-max, MSE, error of the outputs |
//! | round weights | [`Method`] | nearest, GPTQ, AdaRound's objective by coordinate descent |
//! | choose the range of activations | [`ActivationClipping`] | min-max, percentile, MSE |
//! | round a matrix by itself | [`Moments::gptq`] | GPTQ, for [`Linear`](crate::ops::Linear) |
//! | correct biases | [`Recipe::bias_correction`] | empirical bias correction |
//!
//! [`Recipe`] holds these choices as data; [`Recipe::quantize`] carries them out.

mod equalize;
mod file;
mod gram;
mod graph;
mod hybrid;
mod linalg;
mod moments;
mod quantized;
mod recipe;
mod rounding;
mod scheme;
mod weights;

pub use equalize::{awq, equalize, smooth};
pub use hybrid::{Choice, LayerPlan, Sensitivity, front, greedy, sensitivity, with_sqnr, within_bytes};
pub use moments::Moments;
pub use quantized::QuantizedModel;
pub use recipe::{ActivationClipping, Activations, Recipe};
pub use rounding::Method;
pub use scheme::{ActivationQuantization, CodeFormat, WeightClipping, WeightGranularity, WeightScheme};
pub use weights::QuantizedWeights;

use crate::error::{Result, refuse, require};
use crate::model::Model;
use crate::tensor::Tensor;

/// Checks that the calibration data fit the model, are not empty and are finite.
fn check_calibration(model: &Model, calibration: &Tensor) -> Result<()> {
    let (values, rows) = model.check_input("the calibration data", calibration)?;
    require!(rows > 0, "there are no calibration data: give a few dozen rows or images that are like the real ones");
    check_finite("the calibration data", values)
}

/// Checks that all values are finite. Second moments of other values have no Cholesky factor, at any damping.
fn check_finite(what: &str, values: &[f32]) -> Result<()> {
    if let Some(odd) = values.iter().position(|value| !value.is_finite()) {
        refuse!("number {odd} of {what} is {}, but all must be finite", values[odd]);
    }
    Ok(())
}

/// The input and each layer's result, in float.
fn trace(model: &Model, input: &Tensor) -> Result<Vec<Tensor>> {
    let trace = model.trace(input, |_, _| {})?;
    for (layer, made) in model.layers().iter().zip(&trace[1..]) {
        check_finite(&format!("what layer {} makes of the calibration data", layer.name()), made.values()?)?;
    }
    Ok(trace)
}
