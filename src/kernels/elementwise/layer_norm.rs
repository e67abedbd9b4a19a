//! Candidates of `ops::LayerNorm`: `shaders/elementwise/layer_norm.wgsl`. The meaning is `reference/layer_norm.rs`.

use super::row_lanes;
use crate::kernels::convert::quantize;
use crate::kernels::launch::dispatch::float_bits;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, parameters};
use crate::ops::{DynamicGranularity, LayerNorm, PostOp, Segments};

parameters! {
    /// `shaders/elementwise/layer_norm.wgsl`.
    struct Params {
        rows: u32,
        n: u32,
        epsilon: u32,
        length: u32,
        per_row: u32,
        code_words: u32,
        low: i32,
        high: i32,
    }
}

impl Kernels for LayerNorm {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let shape = self.tensor_type.shape();
        let (rows, n) = (shape.rows(), shape.row_length());
        let mut params =
            Params { rows: rows as u32, n: n as u32, epsilon: self.epsilon.to_bits(), ..Params::default() };
        let program = Program::new(&program::LAYER_NORM).with(&program::ROW_LANES).constant("CENTRED", self.centred);
        let op = self.clone();
        let constants = [Constant::new("scales and shifts", 2 * n, move || scales_and_shifts(&op))];
        let codes = match post_op {
            Some(PostOp::DynamicQuantize(codes)) => Some(codes),
            _ => None,
        };
        let program = match codes {
            None => program.with(&program::NORMAL_FLOATS),
            Some(codes) => {
                let Segments { length, per_row, .. } = codes.segments();
                let (low, high, symmetric) = codes.range();
                let code_words = epilogue::row_words(codes.output());
                params = Params { length: length as u32, per_row: per_row as u32, code_words, low, high, ..params };
                quantize::link_codes(program.with(&program::NORMAL_CODES), codes.output().dtype())
                    .constant("SYMMETRIC", symmetric)
                    .constant("WHOLE_ROW", codes.granularity() == DynamicGranularity::Row)
            }
        };
        row_lanes::candidates("layer norm", [rows, n], &constants, caps, &program, |program, groups| {
            let outputs =
                (0..1 + usize::from(codes.is_some())).map(|i| Binding::write(6 + i as u32, Resource::Output(i)));
            let inputs = [Binding::read(1, Resource::Input(0)), Binding::read(5, Resource::Constant(0))];
            let bindings = inputs.into_iter().chain(outputs);
            let launch =
                Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([8, rows, n]);
            if codes.is_some() { launch } else { launch.in_place(0) }
        })
    }
}

/// The scales of a row, then its shifts.
fn scales_and_shifts(op: &LayerNorm) -> Vec<u32> {
    let n = op.tensor_type.shape().row_length();
    let shift = op.shift.as_deref().map_or_else(|| vec![0; n], float_bits);
    [float_bits(&op.scale), shift].concat()
}
