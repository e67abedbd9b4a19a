//! Candidates of `ops::Softmax`: `shaders/elementwise/softmax.wgsl`. The meaning is `reference/softmax.rs`.

use super::row_lanes;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, parameters};
use crate::ops::{PostOp, Softmax};

parameters! {
    /// `shaders/elementwise/softmax.wgsl`.
    struct Params {
        rows: u32,
        n: u32,
        scale: u32,
        unused_0: u32,
    }
}

impl Kernels for Softmax {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let shape = self.tensor_type.shape();
        let (rows, n) = (shape.rows(), shape.row_length());
        let params = Params { rows: rows as u32, n: n as u32, scale: self.scale.to_bits(), unused_0: 0 };
        let program = Program::new(&program::SOFTMAX).with(&program::ROW_LANES);
        row_lanes::candidates("softmax", [rows, n], &[], caps, &program, |program, groups| {
            let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([5, rows, n]).in_place(0)
        })
    }
}
