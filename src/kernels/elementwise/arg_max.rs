//! Candidates of `ops::ArgMax`: `shaders/elementwise/arg_max.wgsl`. The meaning is `reference/arg_max.rs`.

use super::row_lanes;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, parameters};
use crate::numeric::DType;
use crate::ops::{ArgMax, PostOp};

parameters! {
    /// `shaders/elementwise/arg_max.wgsl`.
    struct Params {
        rows: u32,
        n: u32,
        input_words: u32,
        unused_0: u32,
    }
}

impl Kernels for ArgMax {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (shape, dtype) = (self.input().shape(), self.input().dtype());
        let (rows, n) = (shape.rows(), shape.row_length());
        let input_words = epilogue::row_words(self.input());
        let params = Params { rows: rows as u32, n: n as u32, input_words, unused_0: 0 };
        let program = ordered(Program::new(&program::ARG_MAX), dtype);
        row_lanes::candidates("arg max", [rows, n], &[], caps, &program, |program, groups| {
            let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([rows, n])
        })
    }
}

/// A program with the constants of `shaders/elementwise/order_key.wgsl`.
pub(super) fn ordered(program: Program, dtype: DType) -> Program {
    program
        .constant("INPUT_BITS", dtype.bits() as u32)
        .constant("REAL", matches!(dtype, DType::Float32 | DType::Float16))
        .constant("SIGNED", dtype.is_signed())
}
