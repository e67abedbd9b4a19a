//! Measurement of an op's candidates: plans of that op alone, timed in turn within a budget. `tune` evaluates the samples;
//! `choose.rs` uses the result.

use std::time::Duration;

use web_time::Instant;

use super::device_tensor::Temporary;
use super::stopwatch::Stopwatch;
use super::{Bindings, Context, DeviceTensor, Plan};
use crate::error::Result;
use crate::numeric::{DType, QuantizationParams};
use crate::ops::Op;
use crate::plan::Graph;
use crate::tensor::{Tensor, TensorType};
use crate::tune::{Tuner, median, pick};

/// The outcome of a measurement.
pub(super) struct Measurement {
    /// The index of the fastest candidate among those measured within the budget.
    pub fastest: usize,
    /// True if the budget sufficed for all rounds, so that the result can be remembered.
    pub complete: bool,
}

/// The length of a sample in seconds: long enough for a coarse clock, and for the cost of a submission to be small in comparison.
const SAMPLE: f64 = 1e-3;

/// The largest number of runs of an op in a sample.
const MOST_RUNS: usize = 256;

/// Number of samples per candidate.
const ROUNDS: usize = 7;

/// A candidate that takes this many times as long as the fastest gets no further samples.
const HOPELESS: f64 = 2.0;

/// Times the candidates of an op until the budget is spent. The sample or compilation in progress is completed after that.
pub(super) async fn measure(context: &Context, op: &Op, candidates: usize, budget: Duration) -> Result<Measurement> {
    let start = Instant::now();
    let mut samples = vec![Vec::new(); candidates];
    let mut plans = Vec::new();
    let complete = sample(context, op, &mut samples, &mut plans, &|| start.elapsed() >= budget).await;
    for (plan, bindings) in plans.into_iter().flatten() {
        drop(bindings);
        plan.destroy();
    }
    Ok(Measurement { fastest: pick(&samples), complete: complete? })
}

/// Fills the samples, one list per candidate, with the seconds per run, and the plans that are left to give back. True if all
/// rounds ended before `spent`.
async fn sample(
    context: &Context,
    op: &Op,
    samples: &mut [Vec<f64>],
    plans: &mut Vec<Option<(Plan, Bindings)>>,
    spent: &(dyn Fn() -> bool + Sync),
) -> Result<bool> {
    let graph = Graph::of(op.clone())?;
    let inputs = op.inputs().iter().map(|t| input(context, t)).collect::<Result<Vec<_>>>()?;
    let outputs = op.outputs().into_iter().map(|t| DeviceTensor::allocate(context, t)).collect::<Result<Vec<_>>>()?;
    let _given_back: Vec<_> = inputs.iter().chain(&outputs).map(|tensor| Temporary(tensor.buffer().clone())).collect();
    let (inputs, outputs): (Vec<_>, Vec<_>) = (inputs.iter().collect(), outputs.iter().collect());
    let stopwatch = Stopwatch::new(context).await?;
    let make = |candidate: usize| -> Result<(Plan, Bindings)> {
        let plan = context.plan(&graph, Tuner::Nth(candidate))?;
        let bindings = plan.bind(&inputs, &outputs)?;
        Ok((plan, bindings))
    };
    let time = async |(plan, bindings): &(Plan, Bindings), runs: usize| -> Result<f64> {
        let seconds = stopwatch.seconds(|pass| (0..runs).try_for_each(|_| plan.record_in(pass, bindings))).await?;
        Ok(seconds / runs as f64)
    };

    // Each candidate runs once without timing, to be compiled and to touch its memory. One that fails is left out, but the first
    // guess must work.
    plans.push(Some(make(0)?));
    let mut runs = 1;
    if let Some(first) = &plans[0] {
        time(first, 1).await?;
        context.check().await?;
        while !spent() && runs < MOST_RUNS && time(first, runs).await? * (runs as f64) < SAMPLE {
            runs *= 2;
        }
    }
    for i in 1..samples.len() {
        if spent() {
            return Ok(false);
        }
        plans.push(match make(i) {
            Ok(plan) => (time(&plan, 1).await.is_ok() && context.check().await.is_ok()).then_some(plan),
            Err(_) => None,
        });
    }

    // Candidates take turns, so that changes of temperature and clock affect them equally.
    for _ in 0..ROUNDS {
        let fastest = samples.iter().filter_map(|times| median(times)).fold(f64::INFINITY, f64::min);
        for (plan, times) in plans.iter().zip(&mut *samples) {
            let hopeless = median(times).is_some_and(|time| time > HOPELESS * fastest);
            let Some(plan) = plan.as_ref().filter(|_| !hopeless) else { continue };
            if spent() {
                return Ok(false);
            }
            times.push(time(plan, runs).await?);
        }
    }
    Ok(true)
}

impl Plan {
    /// The seconds per run on the device, for `runs` runs recorded in one pass: by the device's clock if it has one, else by the
    /// host's. It first waits for the queue.
    ///
    /// # Errors
    /// As [`Plan::record`]. Also if the device fails.
    pub async fn seconds(&self, bindings: &Bindings, runs: usize) -> Result<f64> {
        let stopwatch = Stopwatch::new(self.context()).await?;
        let runs = runs.max(1);
        let record = |pass: &mut wgpu::ComputePass<'_>| (0..runs).try_for_each(|_| self.record_in(pass, bindings));
        Ok(stopwatch.seconds(record).await? / runs as f64)
    }

    /// The seconds of each launch on the device, in the order of [`Bindings::labels`]: of `runs` repetitions of it alone, in a pass of
    /// its own. Outputs, intermediate tensors and states hold nothing of use afterwards, because launches that overwrite their inputs are
    /// repeated, too.
    ///
    /// ```no_run
    /// use lowbit::{Bindings, Plan};
    /// fn slowest(plan: &Plan, bindings: &Bindings) -> lowbit::Result<Option<String>> {
    ///     let seconds = plan.launch_seconds_blocking(bindings, 10)?;
    ///     let times = seconds.into_iter().zip(bindings.labels());
    ///     Ok(times.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, label)| label.to_string()))
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Plan::record`]. Also if the device fails.
    pub async fn launch_seconds(&self, bindings: &Bindings, runs: usize) -> Result<Vec<f64>> {
        let stopwatch = Stopwatch::new(self.context()).await?;
        let runs = runs.max(1);
        let mut seconds = Vec::with_capacity(bindings.launches());
        for index in 0..bindings.launches() {
            let record = |pass: &mut wgpu::ComputePass<'_>| {
                (0..runs).try_for_each(|_| self.record_launch(pass, bindings, index))
            };
            seconds.push(stopwatch.seconds(record).await? / runs as f64);
        }
        Ok(seconds)
    }

    /// As [`Plan::launch_seconds`], but blocking. Not available in browsers.
    ///
    /// # Errors
    /// As [`Plan::launch_seconds`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn launch_seconds_blocking(&self, bindings: &Bindings, runs: usize) -> Result<Vec<f64>> {
        pollster::block_on(self.launch_seconds(bindings, runs))
    }

    /// As [`Plan::seconds`], but blocking. Not available in browsers.
    ///
    /// # Errors
    /// As [`Plan::seconds`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn seconds_blocking(&self, bindings: &Bindings, runs: usize) -> Result<f64> {
        pollster::block_on(self.seconds(bindings, runs))
    }
}

/// An input tensor for an op: zeros, or parameters that are valid for codes of any data type.
fn input(context: &Context, tensor_type: &TensorType) -> Result<DeviceTensor> {
    if tensor_type.dtype() == DType::Parameters {
        let parameters = vec![QuantizationParams::new(1.0, 0); tensor_type.shape().elements()];
        return context.upload(&Tensor::new(tensor_type.dims(), parameters)?);
    }
    DeviceTensor::allocate(context, tensor_type.clone())
}
