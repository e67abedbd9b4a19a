//! Candidates of `ops::StepFromRange`: `shaders/calibrate/step_from_range.wgsl`. The meaning is `reference/step_from_range.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, parameters};
use crate::ops::{PostOp, StepFromRange};

parameters! {
    /// `shaders/calibrate/step_from_range.wgsl`.
    struct Params {
        ranges: u32,
        state_words: u32,
        low: i32,
        high: i32,
    }
}

impl Kernels for StepFromRange {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let ranges = self.steps.shape().elements();
        let state_words = self.state.dims()[1] as u32;
        let params = Params { ranges: ranges as u32, state_words, low: self.low, high: self.high };
        line_candidates("step from range", ranges, &[], caps, |group, groups| {
            let program = Program::new(&program::STEP_FROM_RANGE).constant("GROUP_X", group);
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(2, Resource::Input(1)),
                Binding::write(6, Resource::Output(0)),
            ];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([2, ranges])
        })
    }
}
