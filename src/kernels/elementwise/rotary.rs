//! Candidates of `ops::Rotary`: `shaders/elementwise/rotary.wgsl`. The meaning is `reference/rotary.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, parameters};
use crate::ops::{PostOp, Rotary, RotaryPairs};

parameters! {
    /// `shaders/elementwise/rotary.wgsl`.
    struct Params {
        elements: u32,
        n: u32,
        token_rows: u32,
        half: u32,
        positions: i32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

impl Kernels for Rotary {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let shape = self.input().shape();
        let [positions, width] = self.table_dims();
        let params = Params {
            elements: shape.elements() as u32,
            n: shape.row_length() as u32,
            token_rows: (shape.rows() / shape.dims()[0].max(1)) as u32,
            half: width as u32 / 2,
            positions: positions as i32,
            ..Params::default()
        };
        line_candidates("rotary", shape.elements(), &[], caps, |group, groups| {
            let program = Program::new(&program::ROTARY).constant("GROUP_X", group);
            let program = program.constant("INTERLEAVED", self.pairs() == RotaryPairs::Interleaved);
            let bindings = [
                Binding::read(2, Resource::Input(0)),
                Binding::read(3, Resource::Input(1)),
                Binding::read(4, Resource::Input(2)).touching(4 * (shape.dims()[0] * width) as u64),
                Binding::write(6, Resource::Output(0)),
            ];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([3, shape.elements()])
        })
    }
}
