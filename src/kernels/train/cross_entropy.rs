//! Candidates of `ops::CrossEntropyGradient`: `shaders/train/cross_entropy.wgsl`. The meaning is `reference/cross_entropy.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, parameters};
use crate::ops::{CrossEntropyGradient, PostOp};

parameters! {
    /// `shaders/train/cross_entropy.wgsl`.
    struct Params {
        rows: u32,
        classes: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

impl Kernels for CrossEntropyGradient {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (rows, classes) = (self.logits.dims()[0], self.logits.dims()[1]);
        let params = Params { rows: rows as u32, classes: classes as u32, ..Params::default() };
        line_candidates("cross-entropy gradient", rows, &[], caps, |group, groups| {
            let program = Program::new(&program::CROSS_ENTROPY).constant("GROUP_X", group);
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(2, Resource::Input(1)),
                Binding::write(6, Resource::Output(0)),
            ];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([5, rows, classes])
        })
    }
}
