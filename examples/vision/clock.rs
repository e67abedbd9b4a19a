//! Times a layer on a device. The layers come from `network`; `main.rs` and `candidates.rs` use the times.

use std::time::Instant;

use lowbit::{Bindings, Context, DeviceTensor, Graph, Plan, Result, Tuner};

/// Seconds of a sample: long enough for a coarse clock, and for a submission to cost little in comparison.
const SAMPLE: f64 = 10e-3;

/// Largest number of runs in a sample.
const MOST_RUNS: usize = 256;

/// A plan bound to tensors of zeros. The time of integer kernels doesn't depend on the data.
pub(crate) struct Timed {
    pub(crate) plan: Plan,
    bindings: Bindings,
}

impl Timed {
    /// Compiles the plan and runs it once.
    pub(crate) fn new(context: &Context, graph: &Graph, tuner: Tuner) -> Result<Self> {
        let plan = context.plan(graph, tuner)?;
        let allocate = |types: &[lowbit::TensorType]| -> Result<Vec<DeviceTensor>> {
            types.iter().map(|t| DeviceTensor::allocate(context, t.clone())).collect()
        };
        let (inputs, outputs) = (allocate(plan.input_types())?, allocate(plan.output_types())?);
        let bindings = plan.bind(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
        let timed = Self { plan, bindings };
        timed.seconds(1)?;
        Ok(timed)
    }

    /// Seconds per run of `runs` consecutive runs, of the device's clock if it has one.
    pub(crate) fn seconds(&self, runs: usize) -> Result<f64> {
        self.plan.seconds_blocking(&self.bindings, runs)
    }

    /// Runs for this many seconds, after which a GPU's clock is at its height.
    pub(crate) fn warm(&self, seconds: f64) -> Result<()> {
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            self.seconds(16)?;
        }
        Ok(())
    }

    /// Number of runs in a sample.
    pub(crate) fn runs(&self) -> Result<usize> {
        let mut runs = 1;
        while runs < MOST_RUNS && self.seconds(runs)? * (runs as f64) < SAMPLE {
            runs *= 2;
        }
        Ok(runs)
    }

    /// Labels of the kernels, in order, without consecutive repetitions.
    pub(crate) fn label(&self) -> String {
        let mut labels: Vec<&str> = self.plan.labels().collect();
        labels.dedup();
        labels.join(", ")
    }
}

/// Median of the times.
pub(crate) fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
