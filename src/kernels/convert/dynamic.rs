//! Candidates of `ops::DynamicQuantize`: `shaders/convert/range_rows.wgsl`, which also quantizes segments that are whole words of codes.
//! For long segments `shaders/convert/range.wgsl` and `shaders/convert/range_parameters.wgsl`. Other segments are then quantized by
//! `shaders/convert/convert.wgsl`, with the parameters on the device. The meaning is `reference/dynamic.rs`.

use super::quantize;
use crate::kernels::elementwise::row_lanes;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_groups, parameters};
use crate::ops::{DynamicGranularity, DynamicQuantize, PostOp, Segments};
use crate::tensor::{Granularity, TensorType};

parameters! {
    /// `shaders/convert/range.wgsl`.
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
    /// `shaders/convert/range_parameters.wgsl`.
    struct ParametersParams {
        chunks: u32,
        segments: u32,
        low: i32,
        high: i32,
    }
}

parameters! {
    /// `shaders/convert/range_rows.wgsl`.
    struct RowsParams {
        length: u32,
        segments: u32,
        row: u32,
        per_row: u32,
        low: i32,
        high: i32,
        code_words: u32,
        unused_0: u32,
    }
}

/// Elements that one workgroup reduces.
const CHUNK: usize = 8192;

impl Kernels for DynamicQuantize {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let length = self.segments().length;
        if length <= CHUNK {
            return row_lanes::shapes(length, caps).into_iter().map(|shape| of_one_chunk(self, shape, caps)).collect();
        }
        line_groups(caps).map(|group| of_chunks(self, group, caps)).collect()
    }
}

/// True if no two segments have codes in one word.
fn are_whole_words(op: &DynamicQuantize) -> bool {
    match op.granularity() {
        DynamicGranularity::Tensor => false,
        DynamicGranularity::Row => true,
        DynamicGranularity::Group(size) => size.is_multiple_of(32 / op.output().dtype().bits()),
    }
}

/// One launch finds the ranges of all segments, `rows` of them per workgroup, and quantizes them if it can.
fn of_one_chunk(op: &DynamicQuantize, [lanes, rows]: [u32; 2], caps: &DeviceCaps) -> Candidate {
    let Segments { count, length, per_row, row } = op.segments();
    let (low, high, symmetric) = op.range();
    let params = RowsParams {
        length: length as u32,
        segments: count as u32,
        row: row as u32,
        per_row: per_row as u32,
        low,
        high,
        code_words: epilogue::row_words(op.output()),
        ..RowsParams::default()
    };
    let whole = are_whole_words(op);
    let program = Program::new(&program::RANGE_ROWS)
        .constant("LANES", lanes)
        .constant("ROWS", rows)
        .constant("SYMMETRIC", symmetric);
    let program = match whole {
        true => quantize::link_codes(program.with(&program::SEGMENT_CODES), op.output().dtype()),
        false => program.with(&program::SEGMENT_PARAMETERS),
    };
    let bindings = [
        Some(Binding::read(1, Resource::Input(0))),
        whole.then(|| Binding::write(5, Resource::Output(0))),
        Some(Binding::write(6, Resource::Output(1))),
    ];
    let bindings = bindings.into_iter().flatten();
    let launch = Dispatch::new(program, &params, RowsParams::FIELDS, bindings, count.div_ceil(rows as usize), caps);
    Candidate {
        label: format!("dynamic quantize, {lanes} lanes for a range, {rows} ranges"),
        dispatches: match whole {
            // Without segments there is nothing to launch.
            true => (count > 0).then_some(launch).into_iter().collect(),
            false => with_codes(op, vec![launch], lanes * rows, caps),
        },
        constants: Vec::new(),
        scratch: Vec::new(),
    }
}

/// One launch finds the ranges of chunks, another combines those of each segment.
fn of_chunks(op: &DynamicQuantize, group: u32, caps: &DeviceCaps) -> Candidate {
    let Segments { count: segments, length, per_row, row } = op.segments();
    let chunks = length.div_ceil(CHUNK);
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
        Program::new(&program::RANGE).constant("LANES", group).constant("ROWS", 1u32),
        &range_params,
        RangeParams::FIELDS,
        [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Scratch(0))],
        segments * chunks,
        caps,
    );
    let parameters_params = ParametersParams { chunks: chunks as u32, segments: segments as u32, low, high };
    let program = Program::new(&program::RANGE_PARAMETERS).constant("LANES", group).constant("ROWS", 1u32);
    let parameters = Dispatch::new(
        program.constant("SYMMETRIC", symmetric),
        &parameters_params,
        ParametersParams::FIELDS,
        [Binding::read(1, Resource::Scratch(0)), Binding::write(6, Resource::Output(1))],
        segments,
        caps,
    );
    Candidate {
        label: format!("dynamic quantize, groups of {group}"),
        dispatches: with_codes(op, vec![range, parameters], group, caps),
        constants: Vec::new(),
        scratch: vec![segments * chunks * 2],
    }
}

/// The launches that find parameters, then the one that quantizes with them; empty if there are no segments.
fn with_codes(op: &DynamicQuantize, ranges: Vec<Dispatch>, group: u32, caps: &DeviceCaps) -> Vec<Dispatch> {
    if op.segments().count == 0 {
        return Vec::new();
    }
    // Rows are the first axis of the codes as a matrix.
    let shape = op.output().shape();
    let granularity = match op.granularity() {
        DynamicGranularity::Tensor => Granularity::Tensor,
        DynamicGranularity::Row => Granularity::Axis(0),
        DynamicGranularity::Group(size) => Granularity::Blocks { axis: 1, size },
    };
    let matrix = match granularity {
        Granularity::Tensor => op.output().clone(),
        _ => TensorType::new(op.output().dtype(), [shape.rows(), shape.row_length()])
            .expect("as many elements as before"),
    };
    let codes = quantize::launch(&matrix, granularity, Resource::Output(1), group, caps);
    ranges.into_iter().chain(codes).collect()
}
