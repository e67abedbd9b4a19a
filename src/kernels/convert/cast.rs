//! Candidates of `ops::Cast`: `shaders/convert/convert.wgsl` with `shaders/convert/step_cast.wgsl`. The meaning is
//! `reference/cast.rs`.

use super::convert::{Conversion, link_decode, link_encode};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Candidate, DeviceCaps, Kernels};
use crate::ops::{Cast, PostOp};

impl Kernels for Cast {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        candidates(self, caps)
    }
}

pub(crate) fn candidates(op: &Cast, caps: &DeviceCaps) -> Vec<Candidate> {
    let program = link_decode(Program::new(&program::CONVERT).with(&program::STEP_CAST), op.input().dtype());
    let program = link_encode(program, op.output().dtype(), op.saturates(), op.power_rounding());
    let conversion =
        Conversion { name: "cast", input: op.input().dtype(), output: op.output(), program, scales: None, range: None };
    conversion.candidates(&[], caps)
}
