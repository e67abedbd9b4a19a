//! Candidates of `ops::Pool`: `shaders/pool.wgsl`. The meaning is `reference/pool.rs`.

use super::dispatch::{Binding, Candidate, Constant, Dispatch, Limits, Resource, parameters};
use super::line_candidates;
use super::program::{self, Program};
use super::stage::{self, Epilogue};
use crate::ops::{Finish, Output, Pool, PoolKind};

parameters! {
    /// `shaders/pool.wgsl`.
    struct Params {
        in_size: [u32; 4],
        out_size: [u32; 4],
        kernel: [u32; 4],
        stride: [u32; 4],
        dilation: [u32; 4],
        pad: [u32; 4],
        pad_end: [u32; 4],
        n: u32,
        input_words: u32,
        output_words: u32,
        output_quads: u32,
        quads: u32,
        input_zero_point: i32,
        zero_point: i32,
        low: u32,
        high: u32,
        count_padding: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

pub(super) fn candidates(op: &Pool, finish: Option<&Finish>, limits: &Limits) -> Vec<Candidate> {
    let output = Output::Requantized(op.output().clone());
    launches(op, Epilogue { output: &output, output_type: op.output_type(), stage: op.stage(), finish }, limits)
}

pub(super) fn tables(op: &Pool, finish: Option<&Finish>) -> Vec<u32> {
    let output = Output::Requantized(op.output().clone());
    Epilogue { output: &output, output_type: op.output_type(), stage: op.stage(), finish }.tables()
}

fn launches(op: &Pool, epilogue: Epilogue<'_>, limits: &Limits) -> Vec<Candidate> {
    let average = op.kind() == PoolKind::Average;
    let window = op.window();
    let stage = epilogue.parameters();
    let axes = |sizes: [usize; 3]| [sizes[0] as u32, sizes[1] as u32, sizes[2] as u32, 0];
    let params = Params {
        in_size: axes(window.input),
        out_size: axes(window.output),
        kernel: axes(window.kernel),
        stride: axes(window.stride),
        dilation: axes(window.dilation),
        pad: axes(window.begin),
        pad_end: axes(window.end),
        n: op.input().shape().row_length() as u32,
        input_words: stage::row_words(op.input()),
        output_words: stage.output_words,
        output_quads: stage.output_quads,
        quads: (op.output_type().shape().rows() * stage.output_quads as usize) as u32,
        input_zero_point: op.input().parameters(0).1,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        count_padding: op.counts_padding().into(),
        ..Params::default()
    };
    let name = if average { "average pool" } else { "max pool" };
    let has_tables = average || epilogue.finish.is_some();
    let constants: &[Constant] = if has_tables { &[Constant::Tables] } else { &[] };
    let quads = op.output_type().shape().rows() * stage.output_quads as usize;
    line_candidates(name, quads, constants, limits, |group, groups| {
        let program = Program::new(&program::POOL);
        let program = if average {
            epilogue.link(program)
        } else {
            stage::link_finish(program.with(&program::OUTPUT_CODE), epilogue.finish)
        };
        let program = program
            .constant("GROUP_X", group)
            .constant("INPUT_SIGNED", op.input().format().is_signed())
            .constant("MAXIMUM", !average);
        let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
        let tables = has_tables.then_some(Binding::read(5, Resource::Constant(0)));
        let launch =
            Dispatch::new(program, &params, Params::FIELDS, bindings.into_iter().chain(tables), groups, limits)
                .operations(op.output_type().shape().elements() * window.taps());
        stage::bind_finish(launch, epilogue.finish, 1)
    })
}
