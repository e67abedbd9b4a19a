//! The candidates of `ops::DynamicQuantize`: `shaders/range.wgsl`, `shaders/range_parameters.wgsl`, then
//! `shaders/quantize.wgsl` with the parameters that the first two left on the device. The meaning is
//! `reference/dynamic.rs`.

use super::dispatch::{Binding, Candidate, Dispatch, Limits, Resource, parameters};
use super::program::{self, Program};
use super::{line_groups, quantize};
use crate::numeric::Format;
use crate::ops::{DynamicGranularity, DynamicQuantize};
use crate::tensor::{Granularity, TensorType};

parameters! {
    /// `shaders/range.wgsl`.
    struct RangeParams {
        length: u32,
        chunk: u32,
        chunks: u32,
        partials: u32,
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
    let (segments, length) = op.segments();
    let chunks = length.div_ceil(CHUNK).max(1);
    let (low, high) = op.output().format().range().expect("an integer format");
    let range_params = RangeParams {
        length: length as u32,
        chunk: CHUNK as u32,
        chunks: chunks as u32,
        partials: (segments * chunks) as u32,
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
        Program::new(&program::RANGE_PARAMETERS).constant("GROUP_X", group),
        &parameters_params,
        ParametersParams::FIELDS,
        [Binding::read(1, Resource::Scratch(0)), Binding::write(6, Resource::Output(1))],
        segments,
        limits,
    );
    // Rows are the first axis of the codes seen as a matrix.
    let shape = op.output().shape();
    let (matrix, granularity) = match op.granularity() {
        DynamicGranularity::Tensor => (op.output().clone(), Granularity::Tensor),
        DynamicGranularity::Row => {
            let rows = [shape.rows(), shape.row_length()];
            (TensorType::new(op.output().format(), rows).expect("no more elements than before"), Granularity::Axis(0))
        }
    };
    let codes = quantize::launch(Format::Float32, &matrix, granularity, Resource::Output(1), group, limits);
    let dispatches = if segments == 0 { Vec::new() } else { [range, parameters].into_iter().chain(codes).collect() };
    Candidate {
        label: format!("dynamic quantize, groups of {group}"),
        dispatches,
        constants: Vec::new(),
        scratch: vec![segments * chunks * 2],
    }
}
