//! Candidates of `ops::Concat`: `shaders/layout/concat.wgsl` once per input, in order, because neighbours may share a word. The
//! meaning is `reference/concat.rs`.

use crate::kernels::elementwise::table;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_groups, parameters};
use crate::ops::{Concat, Op, PostOp};

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
        let candidate = |group: u32| Candidate {
            label: format!("concat, groups of {group}"),
            dispatches: dispatches(self, group, caps),
            constants: self.tables().iter().map(table::constant).collect(),
            scratch: Vec::new(),
        };
        line_groups(caps).map(candidate).collect()
    }
}

fn dispatches(op: &Concat, group: u32, caps: &DeviceCaps) -> Vec<Dispatch> {
    let output = op.output_type();
    let (dimensions, last) = (output.dims(), output.shape().rank() - 1);
    let inputs = Op::from(op.clone()).inputs();
    // Rows of one index of the dimensions before the axis; 1 if the axis is the last.
    let rows_of = |extent: usize| -> usize {
        if op.axis() == last { 1 } else { extent * dimensions[op.axis() + 1..last].iter().product::<usize>() }
    };
    let mut before = 0;
    let mut dispatches = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let extent = input.dims()[op.axis()];
        let n = input.shape().row_length();
        let start = if op.axis() == last { before } else { 0 };
        let first_word = start / 4;
        // The last input of a row zeroes the padding. Any other stops at the first word of the next input.
        let is_last = op.axis() != last || before + extent == dimensions[last];
        let end_word = if is_last { epilogue::row_words(output) as usize } else { (start + n).div_ceil(4) };
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
        let program = Program::new(&program::CONCAT).constant("GROUP_X", group);
        let bindings = [
            Binding::read(1, Resource::Input(i)),
            Binding::read(5, Resource::Constant(i)),
            Binding::write(6, Resource::Output(0)),
        ];
        dispatches.push(Dispatch::new(
            program,
            &params,
            Params::FIELDS,
            bindings,
            words.div_ceil(group as usize),
            caps,
        ));
    }
    dispatches
}
