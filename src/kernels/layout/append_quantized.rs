//! Candidates of `ops::AppendQuantized`: `shaders/layout/append_quantized.wgsl`. Devices that bind fewer buffers quantize rows first,
//! after `shaders/layout/append_rotation.wgsl` if they are rotated, and append codes and scales then. The meaning is
//! `reference/append_quantized.rs`.

use crate::kernels::convert::quantize;
use crate::kernels::elementwise::row_lanes;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_group, parameters, rebind,
};
use crate::ops::{Append, AppendQuantized, PostOp, Rotary, RotaryPairs, Segments};
use crate::tensor::TensorType;

parameters! {
    /// `shaders/layout/append_quantized_params.wgsl`.
    struct Params {
        capacity: i32,
        count: i32,
        token_rows: u32,
        n: u32,
        length: u32,
        per_row: u32,
        row_words: u32,
        half: u32,
        positions: i32,
        low: i32,
        high: i32,
        unused_0: u32,
    }
}

impl Kernels for AppendQuantized {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        // Cache, parameters, rows, position, two outputs; and a table.
        if caps.storage_buffers < 6 + u32::from(self.rotary().is_some()) {
            return in_sequence(self, caps);
        }
        let length = self.quantize().segments().length;
        row_lanes::shapes(length, caps).into_iter().map(|shape| candidate(self, shape, caps)).collect()
    }
}

fn params(op: &AppendQuantized) -> Params {
    let Segments { length, per_row, row, .. } = op.quantize().segments();
    let (low, high, _) = op.quantize().range();
    let [positions, width] = op.rotary().map_or([0; 2], Rotary::table_dims);
    Params {
        capacity: op.cache().dims()[0] as i32,
        count: op.rows().dims()[0] as i32,
        token_rows: token_rows(op) as u32,
        n: row as u32,
        length: length as u32,
        per_row: per_row as u32,
        row_words: epilogue::row_words(op.cache()),
        half: width as u32 / 2,
        positions: positions as i32,
        low,
        high,
        ..Params::default()
    }
}

/// The rows of an index of the first dimension.
fn token_rows(op: &AppendQuantized) -> usize {
    let dims = op.cache().dims();
    dims[1..dims.len() - 1].iter().product()
}

/// One launch.
fn candidate(op: &AppendQuantized, [lanes, rows]: [u32; 2], caps: &DeviceCaps) -> Candidate {
    let (capacity, count) = (op.cache().dims()[0], op.rows().dims()[0]);
    let of_index = token_rows(op) * op.quantize().segments().per_row;
    let linked = |in_place: bool| {
        let program = Program::new(&program::APPEND_QUANTIZED)
            .constant("LANES", lanes)
            .constant("ROWS", rows)
            .constant("SYMMETRIC", true)
            .constant("IN_PLACE", in_place);
        let program =
            program.with(if in_place { &program::APPEND_KEPT_IN_PLACE } else { &program::APPEND_KEPT_COPIED });
        let program = quantize::link_codes(program, op.cache().dtype());
        match op.rotary() {
            Some(rotary) => program
                .with(&program::APPEND_VALUE_ROTATED_BITS)
                .constant("INTERLEAVED", rotary.pairs() == RotaryPairs::Interleaved),
            None => program.with(&program::APPEND_VALUE_DIRECT),
        }
    };
    let bindings = [
        Some(Binding::read(1, Resource::Input(0))),
        Some(Binding::read(2, Resource::Input(2))),
        Some(Binding::read(3, Resource::Input(3))),
        op.rotary().map(|rotary| table(rotary, count)),
        Some(Binding::write(6, Resource::Output(0))),
        Some(Binding::write(7, Resource::Output(1))),
        Some(Binding::read(8, Resource::Input(1))),
    ];
    let groups = |indices: usize| (indices * of_index).div_ceil(rows as usize);
    let written = [4 * token_rows(op) * epilogue::row_words(op.cache()) as usize, 8 * of_index];
    let launch = Dispatch::new(
        linked(false),
        &params(op),
        Params::FIELDS,
        bindings.into_iter().flatten(),
        groups(capacity),
        caps,
    )
    .operations([op.rows().shape().elements()])
    .in_place_by(linked(true), groups(count), &written.map(|bytes| (count * bytes) as u64), caps);
    Candidate {
        label: format!("append quantized, {lanes} lanes for a range, {rows} ranges"),
        dispatches: (capacity * of_index > 0).then_some(launch).into_iter().collect(),
        constants: Vec::new(),
        scratch: Vec::new(),
    }
}

/// The table of angles, of which `count` rows are read.
fn table(rotary: &Rotary, count: usize) -> Binding {
    Binding::read(4, Resource::Input(4)).touching((4 * count * rotary.table_dims()[1]) as u64)
}

/// Launches that rotate, quantize, append codes and append parameters.
fn in_sequence(op: &AppendQuantized, caps: &DeviceCaps) -> Vec<Candidate> {
    let made = op.quantize().candidates(None, caps);
    let extent = op.rows().dims()[0];
    let append = |cache: &TensorType, i: usize, rows: Resource| {
        let rows_type = cache.with_extent(extent).expect("its scales are in another tensor");
        let append = Append::new(cache.clone(), rows_type).expect("rows that fit");
        let mut dispatches = append.candidates(None, caps).swap_remove(0).dispatches;
        rebind(&mut dispatches, |resource| match resource {
            Resource::Input(0) => Resource::Input(i),
            Resource::Input(1) => rows,
            Resource::Input(_) => Resource::Input(3),
            _ => Resource::Output(i),
        });
        dispatches.into_iter().map(|launch| launch.in_place_among(&[0, 1]))
    };
    let sequence = |mut candidate: Candidate| {
        let rows = op.quantize().output();
        let words = rows.shape().rows() * epilogue::row_words(rows) as usize;
        let codes = candidate.scratch(words);
        let parameters = candidate.scratch(2 * op.quantize().parameters().shape().elements());
        let floats = match op.rotary() {
            Some(_) => candidate.scratch(rows.shape().elements()),
            None => Resource::Input(2),
        };
        rebind(&mut candidate.dispatches, |resource| match resource {
            Resource::Input(_) => floats,
            Resource::Output(0) => codes,
            Resource::Output(_) => parameters,
            resource => resource,
        });
        if let Some(rotary) = op.rotary().filter(|_| !candidate.dispatches.is_empty()) {
            candidate.dispatches.insert(0, rotation(op, rotary, floats, caps));
        }
        // They come before rows are appended in place too, and read nothing of the cache.
        let before = candidate.dispatches.into_iter().map(|launch| launch.in_place_among(&[0, 1]));
        candidate.dispatches = before.collect();
        candidate.dispatches.extend(append(op.cache(), 0, codes));
        candidate.dispatches.extend(append(op.parameters(), 1, parameters));
        candidate.label = format!("append quantized after {}", candidate.label);
        candidate
    };
    made.into_iter().map(sequence).collect()
}

/// The launch that rotates rows.
fn rotation(op: &AppendQuantized, rotary: &Rotary, output: Resource, caps: &DeviceCaps) -> Dispatch {
    let group = line_group(caps);
    let elements = op.rows().shape().elements();
    let program = Program::new(&program::APPEND_ROTATION)
        .constant("GROUP_X", group)
        .constant("INTERLEAVED", rotary.pairs() == RotaryPairs::Interleaved);
    let bindings = [
        Binding::read(2, Resource::Input(2)),
        Binding::read(3, Resource::Input(3)),
        table(rotary, op.rows().dims()[0]),
        Binding::write(6, output),
    ];
    Dispatch::new(program, &params(op), Params::FIELDS, bindings, elements.div_ceil(group as usize), caps)
        .operations([3, elements])
}
