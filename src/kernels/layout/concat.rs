//! Candidates of `ops::Concat`: `shaders/layout/concat.wgsl` once per input, in order, because neighbours may share a word. The
//! meaning is `reference/concat.rs`.

use crate::kernels::elementwise::table;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_groups, parameters};
use crate::ops::{Concat, Joined, PostOp};

parameters! {
    /// `shaders/layout/concat.wgsl`.
    struct Params {
        n: u32,
        start: u32,
        input_words: u32,
        output_words: u32,
        first_word: u32,
        row_words: u32,
        words: u32,
        input_rows: u32,
        output_rows: u32,
        start_row: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

impl Kernels for Concat {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        line_groups(caps).map(|group| candidate(self, group, caps)).collect()
    }
}

fn candidate(op: &Concat, group: u32, caps: &DeviceCaps) -> Candidate {
    let output = op.output_type();
    let bits = output.dtype().bits() as u32;
    let lanes = (32 / bits) as usize;
    let (dimensions, last) = (output.dims(), output.shape().rank() - 1);
    // Rows of one index of the dimensions before the axis; 1 if the axis is the last.
    let rows_of = |extent: usize| -> usize {
        if op.axis() == last { 1 } else { extent * dimensions[op.axis() + 1..last].iter().product::<usize>() }
    };
    let mut before = 0;
    let label = format!("concat, groups of {group}");
    let mut candidate = Candidate::new(label);
    for (i, Joined { tensor_type: input, table }) in op.joined().iter().enumerate() {
        let extent = input.dims()[op.axis()];
        let n = input.shape().row_length();
        let start = if op.axis() == last { before } else { 0 };
        let first_word = start / lanes;
        // The last input of a row zeroes the padding. Any other stops at the first word of the next input.
        let is_last = op.axis() != last || before + extent == dimensions[last];
        let end_word = if is_last { epilogue::row_words(output) as usize } else { (start + n).div_ceil(lanes) };
        let row_words = end_word - first_word;
        let words = input.shape().rows() * row_words;
        let params = Params {
            n: n as u32,
            start: start as u32,
            input_words: epilogue::row_words(input),
            output_words: epilogue::row_words(output),
            first_word: first_word as u32,
            row_words: row_words as u32,
            words: words as u32,
            input_rows: rows_of(extent) as u32,
            output_rows: rows_of(dimensions[op.axis()]) as u32,
            start_row: if op.axis() == last { 0 } else { rows_of(before) as u32 },
            ..Params::default()
        };
        before += extent;
        if extent == 0 || words == 0 {
            continue;
        }
        let program = Program::new(&program::CONCAT).constant("BITS", bits).constant("GROUP_X", group);
        let mut bindings = vec![Binding::read(1, Resource::Input(i)), Binding::write(6, Resource::Output(0))];
        let program = match table {
            Some(table) => {
                bindings.push(Binding::read(5, candidate.constant(table::constant(table))));
                program.with(&program::CONCAT_TABLE)
            }
            None => program.with(&program::CONCAT_MOVED),
        };
        let groups = words.div_ceil(group as usize);
        let launch = Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps);
        candidate.dispatches.push(launch);
    }
    candidate
}
