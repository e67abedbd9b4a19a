//! The meaning of `ops::ChannelGate`: a pool and convolutions in sequence. GPU twin: `shaders/elementwise/channel_gate.wgsl`.

use super::{Meaning, run};
use crate::error::Result;
use crate::ops::ChannelGate;
use crate::tensor::Tensor;

impl Meaning for ChannelGate {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let pooled = run(&self.pool().clone().into(), inputs)?;
        self.layers().iter().try_fold(pooled, |made, layer| run(&layer.clone().into(), &[&made[0]]))
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}
