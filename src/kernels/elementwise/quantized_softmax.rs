//! Candidates of `ops::QuantizedSoftmax`: `shaders/elementwise/quantized_softmax.wgsl`. The meaning is
//! `reference/quantized_softmax.rs`.

use super::row_lanes;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, parameters};
use crate::ops::{PostOp, QuantizedSoftmax};

parameters! {
    /// `shaders/elementwise/quantized_softmax.wgsl`.
    struct Params {
        rows: u32,
        n: u32,
        row_words: u32,
        factor: u32,
        zero_point: i32,
        low: i32,
        high: i32,
        unused_0: u32,
    }
}

impl Kernels for QuantizedSoftmax {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let shape = self.input().shape();
        let (rows, n) = (shape.rows(), shape.row_length());
        let (low, high) = self.output().bounds();
        let params = Params {
            rows: rows as u32,
            n: n as u32,
            row_words: epilogue::row_words(self.input()),
            factor: self.factor().to_bits(),
            zero_point: self.output().zero_point(),
            low,
            high,
            unused_0: 0,
        };
        let op = self.clone();
        let powers = Constant::new("powers", 256, move || op.powers().map(f32::to_bits).to_vec());
        let flip = if self.input().dtype().is_signed() { 0x8080_8080u32 } else { 0 };
        let program = Program::new(&program::QUANTIZED_SOFTMAX).with(&program::ROW_LANES).constant("INPUT_FLIP", flip);
        row_lanes::candidates("quantized softmax", [rows, n], &[powers], caps, &program, |program, groups| {
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(5, Resource::Constant(0)),
                Binding::write(6, Resource::Output(0)),
            ];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([8, rows, n]).in_place(0)
        })
    }
}
