//! Candidates of `ops::Append`: `shaders/layout/append.wgsl`, and in a state's buffer `append_in_place.wgsl`. The meaning is
//! `reference/append.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{Append, PostOp};
use crate::tensor::TensorType;

parameters! {
    /// `shaders/layout/append_params.wgsl`.
    struct Params {
        capacity: i32,
        count: i32,
        index_words: i32,
        row_words: u32,
        n: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

impl Kernels for Append {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (capacity, count) = (self.cache().dims()[0], self.rows().dims()[0]);
        let index_words = index_words(self.cache());
        let params = Params {
            capacity: capacity as i32,
            count: count as i32,
            index_words: index_words as i32,
            row_words: epilogue::row_words(self.cache()),
            n: self.cache().shape().row_length() as u32,
            ..Params::default()
        };
        line_candidates("append", capacity * index_words, &[], caps, |group, groups| {
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(2, Resource::Input(1)),
                Binding::read(3, Resource::Input(2)),
                Binding::write(6, Resource::Output(0)),
            ];
            let linked = |part| {
                let bits = self.cache().dtype().bits() as u32;
                Program::new(part).constant("GROUP_X", group).constant("BITS", bits)
            };
            let (program, in_place) = (linked(&program::APPEND), linked(&program::APPEND_IN_PLACE));
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps)
                .operations([count, index_words])
                .in_place_by(0, in_place, (count * index_words).div_ceil(group as usize), caps)
        })
    }
}

/// The words of an index of the first dimension.
fn index_words(tensor_type: &TensorType) -> usize {
    let dims = tensor_type.dims();
    match dims.len() {
        1 => 1,
        rank => dims[1..rank - 1].iter().product::<usize>() * epilogue::row_words(tensor_type) as usize,
    }
}
