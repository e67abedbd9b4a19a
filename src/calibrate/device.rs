//! Observes values of a graph over many batches on a device.

use super::Observation;
use super::session::Calibration;
use crate::error::{Result, require};
use crate::gpu::{Context, DeviceTensor, Plan};
use crate::tensor::TensorType;
use crate::tune::Tuner;

impl Calibration {
    /// This calibration on a device, with nothing observed yet.
    ///
    /// # Errors
    /// If the graph exceeds a limit of the device, or the device fails.
    pub fn on(&self, context: &Context) -> Result<Calibrator> {
        self.resume_on(context, &self.empty())
    }

    /// This calibration on a device, continuing from earlier observations.
    ///
    /// # Errors
    /// As [`Calibration::on`], or if the observations don't fit this calibration.
    pub fn resume_on(&self, context: &Context, observations: &[Observation]) -> Result<Calibrator> {
        let plan = context.plan(&self.graph, Tuner::FirstGuess)?;
        let states = self.states(observations)?;
        let upload = || states.iter().map(|state| context.upload(state)).collect::<Result<Vec<_>>>();
        Ok(Calibrator { calibration: self.clone(), plan, now: upload()?, next: upload()? })
    }
}

/// A calibration on a device. States stay there, in two sets of buffers that are swapped after each batch.
#[derive(Debug)]
pub struct Calibrator {
    calibration: Calibration,
    plan: Plan,
    now: Vec<DeviceTensor>,
    next: Vec<DeviceTensor>,
}

impl Calibrator {
    /// Runs a batch in one submission and returns the graph's own outputs. It reads nothing back and doesn't wait.
    ///
    /// # Errors
    /// If the inputs don't fit the graph, or the device fails.
    pub fn observe(&mut self, inputs: &[&DeviceTensor]) -> Result<Vec<DeviceTensor>> {
        let (given, expected) = (inputs.len(), self.calibration.inputs);
        require!(given == expected, "{given} inputs were given, but the graph has {expected}");
        let inputs: Vec<&DeviceTensor> = inputs.iter().copied().chain(&self.now).collect();
        let context = self.plan.context();
        let types: Vec<&TensorType> = inputs.iter().map(|tensor| tensor.tensor_type()).collect();
        let own = self.plan.output_types_for(&types)?;
        let own = own.into_iter().rev().skip(self.next.len()).rev();
        let outputs = own.map(|t| DeviceTensor::allocate(context, t)).collect::<Result<Vec<_>>>()?;
        let bindings = self.plan.bind(&inputs, &outputs.iter().chain(&self.next).collect::<Vec<_>>())?;
        self.plan.submit(&bindings)?;
        std::mem::swap(&mut self.now, &mut self.next);
        Ok(outputs)
    }

    /// The observations so far, one per observer.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn read(&self) -> Result<Vec<Observation>> {
        let mut observations = Vec::new();
        for (kind, state) in self.calibration.kinds.iter().zip(&self.now) {
            observations.push(kind.read(&self.plan.context().download(state).await?)?);
        }
        Ok(observations)
    }

    /// The observations so far; waits for the device.
    ///
    /// # Errors
    /// As [`Calibrator::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(&self) -> Result<Vec<Observation>> {
        pollster::block_on(self.read())
    }
}
