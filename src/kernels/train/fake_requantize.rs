//! Candidates of `ops::RequantParams` (`shaders/train/scale_channels.wgsl`, `shaders/train/requant_params.wgsl`) and
//! `ops::FakeRequantize` (`shaders/train/fake_requantize.wgsl` with `shaders/train/requantized_*.wgsl`, or
//! `shaders/train/fake_requantize_sum.wgsl` with `shaders/train/sum_partials.wgsl`). The meaning is `reference/fake_requantize.rs`.

use super::fake_quantize::total;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, line_groups, parameters,
};
use crate::ops::{FakeRequantize, FakeRequantizeOutput, PostOp, RequantParams};

parameters! {
    /// `shaders/train/requant_params.wgsl` and `shaders/train/scale_channels.wgsl`.
    struct TableParams {
        channels: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

parameters! {
    /// `shaders/train/fake_requantize.wgsl`.
    struct Params {
        channels: u32,
        elements: u32,
        low: i32,
        high: i32,
    }
}

parameters! {
    /// `shaders/train/fake_requantize_sum.wgsl`.
    struct SumParams {
        channels: u32,
        elements: u32,
        low: i32,
        high: i32,
        chunk: u32,
        chunks: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// Number of elements that one workgroup sums.
const CHUNK: usize = 8192;

impl Kernels for RequantParams {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let channels = self.channels.shape().elements();
        let params = TableParams { channels: channels as u32, ..TableParams::default() };
        let candidate = |group: u32| {
            let launch = |main, bindings: &[Binding]| {
                let program = Program::new(main).constant("GROUP_X", group);
                let groups = channels.div_ceil(group as usize);
                Dispatch::new(program, &params, TableParams::FIELDS, bindings.to_vec(), groups, caps)
            };
            let read = |slot, input| Binding::read(slot, Resource::Input(input));
            let combine =
                launch(&program::SCALE_CHANNELS, &[read(1, 0), read(2, 1), Binding::write(6, Resource::Scratch(0))]);
            let table = launch(
                &program::REQUANT_PARAMS,
                &[
                    read(1, 3),
                    read(2, 2),
                    Binding::read(3, Resource::Scratch(0)),
                    Binding::write(6, Resource::Output(0)),
                ],
            );
            Candidate {
                label: format!("requant params, groups of {group}"),
                dispatches: if channels == 0 { Vec::new() } else { vec![combine, table] },
                constants: Vec::new(),
                scratch: vec![channels],
            }
        };
        line_groups(caps).map(candidate).collect()
    }
}

impl Kernels for FakeRequantize {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let elements = self.sums.shape().elements();
        let channels = self.sums.shape().row_length() as u32;
        let params = Params { channels, elements: elements as u32, low: self.low, high: self.high };
        let read = |slot, input| Binding::read(slot, Resource::Input(input));
        let mut bindings = vec![read(1, 0), read(3, 1)];
        let part = match self.makes {
            FakeRequantizeOutput::Levels | FakeRequantizeOutput::Real => &program::REQUANTIZED_OUTPUT,
            FakeRequantizeOutput::Gradient => {
                bindings.push(read(2, 2));
                &program::REQUANTIZED_GRADIENT
            }
            FakeRequantizeOutput::StepGradient => return step_gradient(self, caps),
        };
        bindings.push(Binding::write(6, Resource::Output(0)));
        line_candidates("fake requantize", elements, &[], caps, |group, groups| {
            let program = Program::new(&program::FAKE_REQUANTIZE)
                .with(part)
                .constant("LEVELS", self.makes == FakeRequantizeOutput::Levels)
                .constant("GROUP_X", group);
            Dispatch::new(program, &params, Params::FIELDS, bindings.clone(), groups, caps).operations([elements])
        })
    }
}

fn step_gradient(op: &FakeRequantize, caps: &DeviceCaps) -> Vec<Candidate> {
    let elements = op.sums.shape().elements();
    let chunks = elements.div_ceil(CHUNK);
    let params = SumParams {
        channels: op.sums.shape().row_length().max(1) as u32,
        elements: elements as u32,
        low: op.low,
        high: op.high,
        chunk: CHUNK as u32,
        chunks: chunks as u32,
        ..SumParams::default()
    };
    let candidate = |group: u32| {
        let program = Program::new(&program::FAKE_REQUANTIZE_SUM).constant("GROUP_X", group);
        let bindings = [
            Binding::read(1, Resource::Input(0)),
            Binding::read(2, Resource::Input(2)),
            Binding::read(3, Resource::Input(1)),
            Binding::write(6, Resource::Scratch(0)),
        ];
        let sums =
            Dispatch::new(program, &params, SumParams::FIELDS, bindings, chunks.max(1), caps).operations([2, elements]);
        Candidate {
            label: format!("step gradient, groups of {group}"),
            dispatches: vec![sums, total(chunks, 1, 1, op.gradient_scale, group, caps)],
            constants: Vec::new(),
            scratch: vec![chunks.max(1) * 2],
        }
    };
    line_groups(caps).map(candidate).collect()
}
