//! Candidates of `ops::Append`: `shaders/layout/append.wgsl`, and in a state's buffer `append_in_place.wgsl`. The meaning is
//! `reference/append.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters, rebind,
};
use crate::ops::{Append, PostOp, Rotary, RotaryPairs};
use crate::tensor::TensorType;

parameters! {
    /// `shaders/layout/append_params.wgsl`.
    struct Params {
        capacity: i32,
        count: i32,
        index_words: i32,
        row_words: u32,
        n: u32,
        token_rows: u32,
        half: u32,
        positions: i32,
    }
}

impl Kernels for Append {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        // Cache, rows, position, table and output.
        if let Some(rotary) = self.rotary().filter(|_| caps.storage_buffers < 5) {
            return after_rotation(rotary, self.unrotated().candidates(None, caps), caps);
        }
        let (capacity, count) = (self.cache().dims()[0], self.rows().dims()[0]);
        let index_words = index_words(self.cache());
        // A pair of a scale and a zero point counts as two elements.
        let words_of_element = self.cache().dtype().bits().div_ceil(32);
        let positions_and_width = self.rotary().map_or([0; 2], Rotary::table_dims);
        let params = Params {
            capacity: capacity as i32,
            count: count as i32,
            index_words: index_words as i32,
            row_words: epilogue::row_words(self.cache()),
            n: (self.cache().shape().row_length() * words_of_element) as u32,
            token_rows: (self.rows().shape().rows() / count.max(1)) as u32,
            half: positions_and_width[1] as u32 / 2,
            positions: positions_and_width[0] as i32,
        };
        line_candidates("append", capacity * index_words, &[], caps, |group, groups| {
            let bindings = [
                Some(Binding::read(1, Resource::Input(0))),
                Some(Binding::read(2, Resource::Input(1))),
                Some(Binding::read(3, Resource::Input(2))),
                self.rotary().map(|rotary| {
                    let bytes = 4 * count * rotary.table_dims()[1];
                    Binding::read(4, Resource::Input(3)).touching(bytes as u64)
                }),
                Some(Binding::write(6, Resource::Output(0))),
            ];
            let bindings = bindings.into_iter().flatten();
            let linked = |part| {
                let bits = self.cache().dtype().bits().min(32) as u32;
                link_rows(self, Program::new(part).constant("GROUP_X", group).constant("BITS", bits))
            };
            let (program, in_place) = (linked(&program::APPEND), linked(&program::APPEND_IN_PLACE));
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps)
                .operations([count, index_words])
                .in_place_by(
                    in_place,
                    (count * index_words).div_ceil(group as usize),
                    &[4 * (count * index_words) as u64],
                    caps,
                )
        })
    }
}

/// These ways to append, each after a launch of its own that rotates the rows.
fn after_rotation(rotary: &Rotary, candidates: Vec<Candidate>, caps: &DeviceCaps) -> Vec<Candidate> {
    let rotation = rotary.candidates(None, caps).swap_remove(0).dispatches.into_iter();
    // It comes before an append in place too, and reads nothing of the cache.
    let rotation: Vec<Dispatch> = rotation.map(|launch| launch.in_place_among(&[0])).collect();
    let after = |mut candidate: Candidate| {
        let rows = candidate.scratch(rotary.input().shape().elements());
        rebind(&mut candidate.dispatches, |resource| if resource == Resource::Input(1) { rows } else { resource });
        let mut rotation = rotation.clone();
        rebind(&mut rotation, |resource| match resource {
            // Rows, position and table follow the cache.
            Resource::Input(input) => Resource::Input(input + 1),
            _ => rows,
        });
        candidate.dispatches.splice(0..0, rotation);
        candidate
    };
    candidates.into_iter().map(after).collect()
}

/// Adds the rows to a program that appends them.
fn link_rows(op: &Append, program: Program) -> Program {
    match op.rotary() {
        Some(rotary) => program
            .with(&program::APPEND_ROWS_FLOATS)
            .with(&program::APPEND_VALUE_ROTATED)
            .constant("INTERLEAVED", rotary.pairs() == RotaryPairs::Interleaved),
        None if op.rows().dtype() == op.cache().dtype() => program.with(&program::APPEND_ROWS_COPIED),
        None => program.with(&program::APPEND_ROWS_FLOATS).with(&program::APPEND_VALUE_DIRECT),
    }
}

/// The words of an index of the first dimension.
fn index_words(tensor_type: &TensorType) -> usize {
    let dims = tensor_type.dims();
    match dims.len() {
        1 => tensor_type.dtype().bits() / 32,
        rank => dims[1..rank - 1].iter().product::<usize>() * epilogue::row_words(tensor_type) as usize,
    }
}
