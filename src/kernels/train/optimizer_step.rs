//! Candidates of `ops::OptimizerStep`: `shaders/train/moments.wgsl`, then `shaders/train/optimizer_step.wgsl`. The meaning is
//! `reference/optimizer_step.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_groups, parameters};
use crate::ops::{OptimizerRule, OptimizerStep, PostOp};

parameters! {
    /// `shaders/train/moments.wgsl`.
    struct MomentsParams {
        constants: [u32; 4],
        elements: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

parameters! {
    /// `shaders/train/optimizer_step.wgsl`.
    struct Params {
        elements: u32,
        epsilon: u32,
        least: u32,
        unused_0: u32,
    }
}

impl Kernels for OptimizerStep {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let elements = self.parameters.shape().elements();
        let (adam, constants, epsilon) = match self.rule {
            OptimizerRule::Sgd { momentum } => (false, [momentum, 0.0, 0.0, 0.0], 0.0),
            OptimizerRule::Adam { beta1, beta2, epsilon } => (true, [beta1, 1.0 - beta1, beta2, 1.0 - beta2], epsilon),
        };
        let moments = MomentsParams {
            constants: constants.map(f32::to_bits),
            elements: elements as u32,
            ..MomentsParams::default()
        };
        let params =
            Params { elements: elements as u32, epsilon: epsilon.to_bits(), least: self.least.to_bits(), unused_0: 0 };
        let candidate = |group: u32| {
            let program = |main| Program::new(main).constant("GROUP_X", group).constant("ADAM", adam);
            let groups = elements.div_ceil(group as usize);
            let read = |slot, input| Binding::read(slot, Resource::Input(input));
            let memory = Dispatch::new(
                program(&program::MOMENTS),
                &moments,
                MomentsParams::FIELDS,
                [read(1, 1), read(2, 2), Binding::write(6, Resource::Output(1))],
                groups,
                caps,
            );
            let step = Dispatch::new(
                program(&program::OPTIMIZER_STEP),
                &params,
                Params::FIELDS,
                [read(1, 0), Binding::read(2, Resource::Output(1)), read(3, 3), Binding::write(6, Resource::Output(0))],
                groups,
                caps,
            );
            Candidate {
                label: format!("optimizer step, groups of {group}"),
                dispatches: if elements == 0 { Vec::new() } else { vec![memory, step] },
                constants: Vec::new(),
                scratch: Vec::new(),
            }
        };
        line_groups(caps).map(candidate).collect()
    }
}
