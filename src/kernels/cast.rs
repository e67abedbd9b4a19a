//! Candidates of `ops::Cast`: `shaders/cast.wgsl` with a part for each of its two formats, `shaders/decode/*.wgsl` and
//! `shaders/encode/*.wgsl`. The meaning is `reference/cast.rs`.

use super::dispatch::{Binding, Candidate, Dispatch, Limits, Resource, parameters};
use super::program::{self, Program};
use super::{line_candidates, stage};
use crate::numeric::Format;
use crate::ops::Cast;

parameters! {
    /// `shaders/cast.wgsl`.
    struct Params {
        n: u32,
        input_words: u32,
        output_words: u32,
        words: u32,
    }
}

pub(super) fn candidates(op: &Cast, limits: &Limits) -> Vec<Candidate> {
    let (input, output) = (op.input(), op.output());
    let words = output.shape().rows() * stage::row_words(output) as usize;
    let params = Params {
        n: output.shape().row_length() as u32,
        input_words: stage::row_words(input),
        output_words: stage::row_words(output),
        words: words as u32,
    };
    line_candidates("cast", words, &[], limits, |group, groups| {
        let program = link_decode(Program::new(&program::CAST), input.format());
        let program = link_encode(program, output.format()).constant("GROUP_X", group);
        let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
        Dispatch::new(program, &params, Params::FIELDS, bindings, groups, limits).operations(output.shape().elements())
    })
}

/// A part that makes float32 of the elements of a format.
pub(super) fn link_decode(program: Program, format: Format) -> Program {
    let program = program.constant("INPUT_BITS", format.bits() as u32);
    match format {
        Format::Float32 => program.with(&program::DECODE_FLOAT32),
        Format::Float16 => program.with(&program::DECODE_FLOAT16),
        _ => program.with(&program::DECODE_INTEGER).constant("INPUT_SIGNED", format.is_signed()),
    }
}

/// A part that makes elements of a format of float32.
fn link_encode(program: Program, format: Format) -> Program {
    let program = program.constant("BITS", format.bits() as u32);
    match format {
        Format::Float32 => program.with(&program::ENCODE_FLOAT32),
        Format::Float16 => program.with(&program::ENCODE_FLOAT16),
        _ => program.with(&program::ENCODE_INTEGER).constant("ROUNDED", Cast::rounds(format)),
    }
}
