//! Candidates of `ops::LayerNorm`: `shaders/elementwise/layer_norm.wgsl`. The meaning is `reference/layer_norm.rs`.

use super::row_lanes;
use crate::kernels::launch::dispatch::float_bits;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, parameters};
use crate::ops::{LayerNorm, PostOp};

parameters! {
    /// `shaders/elementwise/layer_norm.wgsl`.
    struct Params {
        rows: u32,
        n: u32,
        epsilon: u32,
        unused_0: u32,
    }
}

impl Kernels for LayerNorm {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let shape = self.tensor_type.shape();
        let (rows, n) = (shape.rows(), shape.row_length());
        let params = Params { rows: rows as u32, n: n as u32, epsilon: self.epsilon.to_bits(), unused_0: 0 };
        let program = Program::new(&program::LAYER_NORM).with(&program::ROW_LANES).constant("CENTRED", self.centred);
        let op = self.clone();
        let constants = [Constant::new("scales and shifts", 2 * n, move || scales_and_shifts(&op))];
        row_lanes::candidates("layer norm", [rows, n], &constants, caps, &program, |program, groups| {
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(5, Resource::Constant(0)),
                Binding::write(6, Resource::Output(0)),
            ];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([8, rows, n]).in_place(0)
        })
    }
}

/// The scales of a row, then its shifts.
fn scales_and_shifts(op: &LayerNorm) -> Vec<u32> {
    let n = op.tensor_type.shape().row_length();
    let shift = op.shift.as_deref().map_or_else(|| vec![0; n], float_bits);
    [float_bits(&op.scale), shift].concat()
}
