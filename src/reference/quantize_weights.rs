//! The meaning of `ops::QuantizeWeights`, which is `weights::Quantizer`. GPU twins: `shaders/grouped/find_scales.wgsl`,
//! `shaders/grouped/pack_codes.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::QuantizeWeights;
use crate::tensor::Tensor;

impl Meaning for QuantizeWeights {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![quantize_weights(self, inputs[0])?])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn quantize_weights(op: &QuantizeWeights, input: &Tensor) -> Result<Tensor> {
    let weights = op.weights(input.values::<f32>()?)?;
    let words = weights.words()?.iter().map(|&word| word as i32).collect();
    Ok(Tensor::from_values(op.output().clone(), words))
}
