//! Candidates of `ops::Add` (`shaders/add.wgsl`) and `ops::Multiply` (`shaders/multiply.wgsl`). The meaning is
//! `reference/binary.rs`.

use super::broadcast;
use super::dispatch::{Binding, Candidate, Constant, Dispatch, Limits, Resource, parameters};
use super::line_candidates;
use super::program::{self, Program};
use super::stage::{self, Epilogue};
use crate::ops::{Add, Binary, Finish, Multiply, Output};

parameters! {
    /// `shaders/params/binary.wgsl`.
    struct Params {
        dimension: [[u32; 4]; 7],
        dimensions: u32,
        n: u32,
        lhs_words: u32,
        rhs_words: u32,
        lhs_step: u32,
        rhs_step: u32,
        lhs_zero_point: i32,
        rhs_zero_point: i32,
        lhs_scale: u32,
        rhs_scale: u32,
        output_scale: u32,
        output_words: u32,
        output_quads: u32,
        quads: u32,
        zero_point: i32,
        low: u32,
        high: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

pub(super) fn add_candidates(op: &Add, finish: Option<&Finish>, limits: &Limits) -> Vec<Candidate> {
    let program = || stage::link_finish(Program::new(&program::ADD), finish);
    candidates("add", &op.0, program, finish.is_some(), finish, limits)
}

pub(super) fn multiply_candidates(op: &Multiply, finish: Option<&Finish>, limits: &Limits) -> Vec<Candidate> {
    multiply_epilogue(op, finish, |epilogue| {
        candidates("multiply", &op.binary, || epilogue.link(Program::new(&program::MULTIPLY)), true, finish, limits)
    })
}

pub(super) fn multiply_tables(op: &Multiply, finish: Option<&Finish>) -> Vec<u32> {
    multiply_epilogue(op, finish, |epilogue| epilogue.tables())
}

fn multiply_epilogue<T>(op: &Multiply, finish: Option<&Finish>, work: impl FnOnce(Epilogue<'_>) -> T) -> T {
    let output = Output::Requantized(op.binary.output.clone());
    work(Epilogue { output: &output, output_type: &op.binary.output_type, stage: &op.stage, finish })
}

fn candidates(
    name: &str,
    op: &Binary,
    program: impl Fn() -> Program,
    has_tables: bool,
    finish: Option<&Finish>,
    limits: &Limits,
) -> Vec<Candidate> {
    let params = params(op);
    let constants: &[Constant] = if has_tables { &[Constant::Tables] } else { &[] };
    let quads = op.output_type.shape().rows() * stage::quads(&op.output_type) as usize;
    line_candidates(name, quads, constants, limits, |group, groups| {
        let program = program()
            .with(&program::OPERAND_LHS)
            .with(&program::OPERAND_RHS)
            .constant("GROUP_X", group)
            .constant("LHS_SIGNED", op.lhs.format().is_signed())
            .constant("RHS_SIGNED", op.rhs.format().is_signed());
        let bindings = [
            Binding::read(1, Resource::Input(0)),
            Binding::read(2, Resource::Input(1)),
            Binding::write(6, Resource::Output(0)),
        ];
        let tables = has_tables.then_some(Binding::read(5, Resource::Constant(0)));
        let bindings = bindings.into_iter().chain(tables);
        let launch = Dispatch::new(program.clone(), &params, Params::FIELDS, bindings, groups, limits)
            .operations(op.output_type.shape().elements());
        let launch = stage::bind_finish(launch, finish, 2);
        broadcast::in_place(launch, &program, [&op.lhs, &op.rhs], op.output_type.shape())
    })
}

fn params(op: &Binary) -> Params {
    let (low, high) = op.output.bounds();
    let shape = op.output_type.shape();
    let [(lhs_scale, lhs_zero_point), (rhs_scale, rhs_zero_point)] = op.parameters();
    let (dimension, dimensions) = broadcast::dimensions([&op.lhs, &op.rhs], shape, 1);
    Params {
        dimension,
        dimensions,
        n: shape.row_length() as u32,
        lhs_words: stage::row_words(&op.lhs),
        rhs_words: stage::row_words(&op.rhs),
        lhs_step: u32::from(op.lhs.shape().row_length() == shape.row_length()),
        rhs_step: u32::from(op.rhs.shape().row_length() == shape.row_length()),
        lhs_zero_point,
        rhs_zero_point,
        lhs_scale: lhs_scale.to_bits(),
        rhs_scale: rhs_scale.to_bits(),
        output_scale: op.output.scale().to_bits(),
        output_words: stage::row_words(&op.output_type),
        output_quads: stage::quads(&op.output_type),
        quads: (shape.rows() * stage::quads(&op.output_type) as usize) as u32,
        zero_point: op.output.zero_point(),
        low: low as u32,
        high: high as u32,
        ..Params::default()
    }
}
