//! The meaning of `ops::StepFromRange`. GPU twin: `shaders/calibrate/step_from_range.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric;
use crate::ops::StepFromRange;
use crate::tensor::Tensor;

impl Meaning for StepFromRange {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![step_from_range(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn step_from_range(op: &StepFromRange, inputs: &[&Tensor]) -> Tensor {
    let (states, steps) = (inputs[0].values::<i32>(), inputs[1].values::<f32>());
    let (states, steps) = (states.expect("checked by run"), steps.expect("checked by run"));
    let next = |(state, &step): (&[i32], &f32)| {
        let bound = |word: i32, code: i32| match (numeric::finite(f32::from_bits(word as u32)), code) {
            (_, 0) => 0.0,
            (bound, code) => bound / code as f32,
        };
        let wanted = bound(state[0], op.low).max(bound(state[1], op.high));
        if wanted.is_normal() && wanted > 0.0 { wanted } else { step }
    };
    let next = states.chunks_exact(op.state.dims()[1]).zip(steps).map(next).collect();
    Tensor::from_values(op.steps.clone(), next)
}
