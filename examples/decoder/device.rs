//! A model on the device: its one plan, its caches, and the buffers of a step. `model.rs` makes the graph.

use std::collections::HashMap;

use lowbit::{Bindings, Context, DType, DeviceTensor, Plan, Tensor, TensorType, Tuner};

use crate::Result;
use crate::model::{Model, Wanted};

/// The plan of a model, with its state on the device.
pub(crate) struct Decoder<'a> {
    context: &'a Context,
    plan: Plan,
    /// What was bound for each number of tokens that came.
    steps: HashMap<usize, Step>,
    position: DeviceTensor,
    /// The outputs for most tokens.
    outputs: Vec<DeviceTensor>,
    /// The table of cosines and sines, then the caches.
    kept: Vec<DeviceTensor>,
    /// Tokens in the caches.
    pub(crate) length: usize,
    /// Tokens of the last step.
    last: usize,
}

/// The plan bound for a number of tokens.
struct Step {
    ids: DeviceTensor,
    outputs: Vec<DeviceTensor>,
    bindings: Bindings,
}

impl<'a> Decoder<'a> {
    /// A model for up to `chunk` tokens in a step.
    pub(crate) fn new(context: &'a Context, model: &Model, chunk: usize, wanted: &Wanted) -> Result<Self> {
        let plan = context.plan(&model.graph(chunk, wanted)?, Tuner::FirstGuess)?;
        let kept = model.kept()?.map(|tensor| Ok(context.upload(&tensor?)?)).collect::<Result<Vec<_>>>()?;
        let allocate = |kind: &TensorType| DeviceTensor::allocate(context, kind.clone());
        let position = allocate(&plan.input_types()[1])?;
        let outputs = plan.output_types().iter().map(allocate).collect::<lowbit::Result<_>>()?;
        let mut decoder = Self { context, plan, steps: HashMap::new(), position, outputs, kept, length: 0, last: 1 };
        // The programs for a single token are compiled now.
        decoder.bind(1)?;
        Ok(decoder)
    }

    /// Appends tokens to the caches and computes the outputs for them: one submission.
    pub(crate) fn append(&mut self, tokens: &[u32]) -> Result<()> {
        self.bind(tokens.len())?;
        let (step, queue) = (&self.steps[&tokens.len()], self.context.queue());
        let words: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        queue.write_buffer(step.ids.buffer(), 0, &words);
        queue.write_buffer(self.position.buffer(), 0, &(self.length as u32).to_le_bytes());
        let mut encoder = self.context.device().create_command_encoder(&Default::default());
        self.plan.record(&mut encoder, &step.bindings)?;
        queue.submit([encoder.finish()]);
        (self.length, self.last) = (self.length + tokens.len(), tokens.len());
        Ok(())
    }

    /// Downloads an output of the last step.
    pub(crate) fn output(&self, index: usize) -> Result<Tensor> {
        Ok(self.context.download_blocking(&self.steps[&self.last].outputs[index])?)
    }

    /// Downloads the logits of the last step.
    pub(crate) fn logits(&self) -> Result<Vec<f32>> {
        Ok(self.output(self.outputs.len() - 1)?.values::<f32>()?.to_vec())
    }

    /// The launches of a single token.
    pub(crate) fn token(&self) -> &Bindings {
        &self.steps[&1].bindings
    }

    fn bind(&mut self, tokens: usize) -> Result<()> {
        if self.steps.contains_key(&tokens) {
            return Ok(());
        }
        let ids = DeviceTensor::allocate(self.context, TensorType::new(DType::Int32, [tokens])?)?;
        let inputs: Vec<&DeviceTensor> = [&ids, &self.position].into_iter().chain(&self.kept).collect();
        let types: Vec<&TensorType> = inputs.iter().map(|tensor| tensor.tensor_type()).collect();
        let types = self.plan.output_types_for(&types)?;
        let part = |(whole, kind): (&DeviceTensor, _)| DeviceTensor::from_buffer(kind, whole.buffer().clone(), 0);
        let outputs = self.outputs.iter().zip(types).map(part).collect::<lowbit::Result<Vec<_>>>()?;
        let bindings = self.plan.bind(&inputs, &outputs.iter().collect::<Vec<_>>())?;
        self.steps.insert(tokens, Step { ids, outputs, bindings });
        Ok(())
    }
}
