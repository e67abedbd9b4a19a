//! Candidates of `ops::Table`: `shaders/elementwise/table.wgsl`. The meaning is `reference/table.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{PostOp, Table};

parameters! {
    /// `shaders/elementwise/table.wgsl`.
    struct Params {
        n: u32,
        row_words: u32,
        words: u32,
        unused: u32,
    }
}

impl Kernels for Table {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let output = self.output_type();
        let words = output.shape().rows() * epilogue::row_words(output) as usize;
        let params = Params {
            n: output.shape().row_length() as u32,
            row_words: epilogue::row_words(output),
            words: words as u32,
            unused: 0,
        };
        line_candidates("table", words, &[constant(self)], caps, |group, groups| {
            let program = Program::new(&program::TABLE).constant("GROUP_X", group);
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(5, Resource::Constant(0)),
                Binding::write(6, Resource::Output(0)),
            ];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps)
                .operations([output.shape().elements()])
                .in_place(0)
        })
    }
}

pub(crate) fn constant(op: &Table) -> Constant {
    let op = op.clone();
    Constant::new("table", 64, move || words(&op))
}

/// The 256 bytes of a table, four per word.
pub(crate) fn words(op: &Table) -> Vec<u32> {
    op.entries().chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
