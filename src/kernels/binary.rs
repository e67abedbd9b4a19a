//! Candidates of `ops::Add` (`shaders/add.wgsl`) and `ops::Multiply` (`shaders/multiply.wgsl`). The meaning is
//! `reference/binary.rs`.

use super::dispatch::{Binding, Candidate, Constant, Dispatch, Limits, Resource, parameters};
use super::program::{self, Program};
use super::{line_candidates, stage};
use crate::ops::{Add, Binary, Multiply, Output};

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

pub(super) fn add_candidates(op: &Add, limits: &Limits) -> Vec<Candidate> {
    let program = || Program::new(&program::ADD);
    candidates("add", &op.0, program, &[], limits)
}

pub(super) fn multiply_candidates(op: &Multiply, limits: &Limits) -> Vec<Candidate> {
    let output = Output::Requantized(op.binary.output.clone());
    let program = || stage::link(Program::new(&program::MULTIPLY), &output, &op.stage);
    candidates("multiply", &op.binary, program, &[Constant::Stage], limits)
}

fn candidates(
    name: &str,
    op: &Binary,
    program: impl Fn() -> Program,
    constants: &[Constant],
    limits: &Limits,
) -> Vec<Candidate> {
    let params = params(op);
    line_candidates(name, params.quads as usize, constants, limits, |group, groups| {
        let program = program()
            .constant("GROUP_X", group)
            .constant("LHS_SIGNED", op.lhs.format().is_signed())
            .constant("RHS_SIGNED", op.rhs.format().is_signed());
        let bindings = [
            Binding::read(1, Resource::Input(0)),
            Binding::read(2, Resource::Input(1)),
            Binding::write(6, Resource::Output(0)),
        ];
        let stage = (0..constants.len()).map(|i| Binding::read(5, Resource::Constant(i)));
        Dispatch::new(program, &params, Params::FIELDS, bindings.into_iter().chain(stage), groups, limits)
    })
}

fn params(op: &Binary) -> Params {
    let output = Output::Requantized(op.output.clone());
    let stage = stage::parameters(&output, &op.output_type);
    let shape = op.output_type.shape();
    let rank = shape.rank();
    let [(lhs_scale, lhs_zero_point), (rhs_scale, rhs_zero_point)] = op.parameters();
    let mut params = Params {
        dimensions: rank.saturating_sub(1) as u32,
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
        output_words: stage.output_words,
        output_quads: stage.output_quads,
        quads: (shape.rows() * stage.output_quads as usize) as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        ..Params::default()
    };
    let (mut lhs_stride, mut rhs_stride) = (1, 1);
    for (i, dimension) in params.dimension.iter_mut().enumerate().take(rank.saturating_sub(1)) {
        let axis = rank - 2 - i;
        let (lhs, rhs) = (op.lhs.shape().aligned(rank, axis), op.rhs.shape().aligned(rank, axis));
        let stride = |extent: usize, stride: usize| if extent == 1 { 0 } else { stride as u32 };
        *dimension = [shape.dimensions()[axis] as u32, stride(lhs, lhs_stride), stride(rhs, rhs_stride), 0];
        lhs_stride *= lhs;
        rhs_stride *= rhs;
    }
    params
}
