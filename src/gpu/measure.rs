//! How long the candidates of an op take here: ordinary plans of that one op, timed in turn within a budget. The verdict
//! on the samples is `tune`'s; what becomes of it is `choose.rs`'s.

use std::time::{Duration, Instant};

use super::stopwatch::Stopwatch;
use super::{Bindings, Context, DeviceTensor, Plan};
use crate::error::Result;
use crate::numeric::DType;
use crate::ops::Op;
use crate::plan::Graph;
use crate::tensor::{Tensor, TensorType};
use crate::tune::{Tuner, median, pick};

/// The outcome of a measurement.
pub(super) struct Measurement {
    /// The index of the fastest candidate, by what was measured within the budget.
    pub fastest: usize,
    /// Whether the budget sufficed for all rounds, so that the outcome is worth remembering.
    pub complete: bool,
}

/// Seconds of a sample: long enough for a coarse clock, and for a submission to cost little beside it.
const SAMPLE: f64 = 1e-3;

/// The most runs of an op in a sample.
const MOST_RUNS: usize = 256;

/// Samples of each candidate.
const ROUNDS: usize = 7;

/// A candidate that takes this many times as long as the fastest gets no further samples.
const HOPELESS: f64 = 2.0;

/// Times the candidates of an op until the budget is spent; the end of the one sample or compilation that is under way
/// comes after it.
pub(super) fn measure(context: &Context, op: &Op, candidates: usize, budget: Duration) -> Result<Measurement> {
    let start = Instant::now();
    let mut samples = vec![Vec::new(); candidates];
    let complete = sample(context, op, &mut samples, &|| start.elapsed() >= budget)?;
    Ok(Measurement { fastest: pick(&samples), complete })
}

/// Fills the samples, one list per candidate, with the seconds of a run; whether it came to its end before `spent`.
fn sample(context: &Context, op: &Op, samples: &mut [Vec<f64>], spent: &dyn Fn() -> bool) -> Result<bool> {
    let graph = Graph::of(op.clone())?;
    let inputs = op.inputs().iter().map(|t| input(context, t)).collect::<Result<Vec<_>>>()?;
    let outputs = op.outputs().into_iter().map(|t| DeviceTensor::allocate(context, t)).collect::<Result<Vec<_>>>()?;
    let (inputs, outputs): (Vec<_>, Vec<_>) = (inputs.iter().collect(), outputs.iter().collect());
    let stopwatch = Stopwatch::new(context)?;
    let make = |candidate: usize| -> Result<(Plan, Bindings)> {
        let plan = context.plan(&graph, Tuner::Nth(candidate))?;
        let bindings = plan.bind(&inputs, &outputs)?;
        Ok((plan, bindings))
    };
    let time = |(plan, bindings): &(Plan, Bindings), runs: usize| -> Result<f64> {
        let seconds = stopwatch.seconds(|pass| (0..runs).try_for_each(|_| plan.record_in(pass, bindings)))?;
        Ok(seconds / runs as f64)
    };

    // Each candidate runs once unobserved, to be compiled and to touch its memory. One that fails is left out, but the
    // first guess must work.
    let first = make(0)?;
    time(&first, 1)?;
    let mut runs = 1;
    while !spent() && runs < MOST_RUNS && time(&first, runs)? * (runs as f64) < SAMPLE {
        runs *= 2;
    }
    let mut plans = vec![Some(first)];
    for i in 1..samples.len() {
        if spent() {
            return Ok(false);
        }
        let plan = make(i).and_then(|plan| time(&plan, 1).map(|_| plan));
        plans.push(plan.ok());
    }

    // All candidates in turn, so that a device that heats up or clocks up treats them alike.
    for _ in 0..ROUNDS {
        let fastest = samples.iter().filter_map(|times| median(times)).fold(f64::INFINITY, f64::min);
        for (plan, times) in plans.iter().zip(&mut *samples) {
            let hopeless = median(times).is_some_and(|time| time > HOPELESS * fastest);
            let Some(plan) = plan.as_ref().filter(|_| !hopeless) else { continue };
            if spent() {
                return Ok(false);
            }
            times.push(time(plan, runs)?);
        }
    }
    Ok(true)
}

impl Plan {
    /// The seconds that a run takes on the device, recorded so many times in one pass: by the device's own clock where it has
    /// one, by the host's otherwise. It waits for the queue first. Not available in browsers, where nothing may wait.
    ///
    /// # Errors
    /// As [`Plan::record`], or if the device fails.
    pub fn seconds_blocking(&self, bindings: &Bindings, runs: usize) -> Result<f64> {
        let stopwatch = Stopwatch::new(self.context())?;
        let runs = runs.max(1);
        Ok(stopwatch.seconds(|pass| (0..runs).try_for_each(|_| self.record_in(pass, bindings)))? / runs as f64)
    }
}

/// A tensor for an op to read: zeros, or parameters that are legal for codes of any format.
fn input(context: &Context, tensor_type: &TensorType) -> Result<DeviceTensor> {
    if tensor_type.dtype() == DType::Parameters {
        let parameters = vec![(1.0f32, 0i32); tensor_type.shape().elements()];
        return context.upload(&Tensor::new(tensor_type.dims(), parameters)?);
    }
    DeviceTensor::allocate(context, tensor_type.clone())
}
