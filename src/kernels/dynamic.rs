//! The candidates of `ops::DynamicQuantize`: `shaders/range.wgsl`, `shaders/range_parameters.wgsl`, then
//! `shaders/convert.wgsl` with the parameters that the first two left on the device. The meaning is
//! `reference/dynamic.rs`.

use super::dispatch::{Binding, Candidate, Dispatch, Limits, Resource, parameters};
use super::program::{self, Program};
use super::{line_groups, quantize};
use crate::ops::{DynamicGranularity, DynamicQuantize, Segments};
use crate::tensor::{Granularity, TensorType};

parameters! {
    /// `shaders/range.wgsl`.
    struct RangeParams {
        length: u32,
        chunk: u32,
        chunks: u32,
        partials: u32,
        row: u32,
        per_row: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

parameters! {
    /// `shaders/range_parameters.wgsl`.
    struct ParametersParams {
        chunks: u32,
        segments: u32,
        low: i32,
        high: i32,
    }
}

/// Elements that one workgroup reduces.
const CHUNK: usize = 8192;

pub(super) fn candidates(op: &DynamicQuantize, limits: &Limits) -> Vec<Candidate> {
    line_groups(limits).map(|group| candidate(op, group, limits)).collect()
}

fn candidate(op: &DynamicQuantize, group: u32, limits: &Limits) -> Candidate {
    let Segments { count: segments, length, per_row, row } = op.segments();
    let chunks = length.div_ceil(CHUNK).max(1);
    let (low, high, symmetric) = op.range();
    let range_params = RangeParams {
        length: length as u32,
        chunk: CHUNK as u32,
        chunks: chunks as u32,
        partials: (segments * chunks) as u32,
        row: row as u32,
        per_row: per_row as u32,
        ..RangeParams::default()
    };
    let range = Dispatch::new(
        Program::new(&program::RANGE).constant("GROUP_X", group),
        &range_params,
        RangeParams::FIELDS,
        [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Scratch(0))],
        segments * chunks,
        limits,
    );
    let parameters_params = ParametersParams { chunks: chunks as u32, segments: segments as u32, low, high };
    let parameters = Dispatch::new(
        Program::new(&program::RANGE_PARAMETERS).constant("GROUP_X", group).constant("SYMMETRIC", symmetric),
        &parameters_params,
        ParametersParams::FIELDS,
        [Binding::read(1, Resource::Scratch(0)), Binding::write(6, Resource::Output(1))],
        segments,
        limits,
    );
    // Rows are the first axis of the codes seen as a matrix.
    let shape = op.output().shape();
    let granularity = match op.granularity() {
        DynamicGranularity::Tensor => Granularity::Tensor,
        DynamicGranularity::Row => Granularity::Axis(0),
        DynamicGranularity::Group(size) => Granularity::Blocks { axis: 1, size },
    };
    let matrix = match granularity {
        Granularity::Tensor => op.output().clone(),
        _ => TensorType::new(op.output().format(), [shape.rows(), shape.row_length()])
            .expect("as many elements as before"),
    };
    let codes = quantize::launch(&matrix, granularity, Resource::Output(1), group, limits);
    let dispatches = if segments == 0 { Vec::new() } else { [range, parameters].into_iter().chain(codes).collect() };
    Candidate {
        label: format!("dynamic quantize, groups of {group}"),
        dispatches,
        constants: Vec::new(),
        scratch: vec![segments * chunks * 2],
    }
}
