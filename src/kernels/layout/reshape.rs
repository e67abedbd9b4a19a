//! Candidates of `ops::Reshape`: `shaders/layout/reshape.wgsl`. The meaning is `reference/reshape.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{PostOp, Reshape};

parameters! {
    /// `shaders/layout/reshape.wgsl`.
    struct Params {
        n: u32,
        input_n: u32,
        input_words: u32,
        output_words: u32,
        words: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

impl Kernels for Reshape {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (input, output) = (self.input(), self.output());
        let words = output.shape().rows() * epilogue::row_words(output) as usize;
        let params = Params {
            n: output.shape().row_length() as u32,
            input_n: input.shape().row_length() as u32,
            input_words: epilogue::row_words(input),
            output_words: epilogue::row_words(output),
            words: words as u32,
            ..Params::default()
        };
        line_candidates("reshape", words, &[], caps, |group, groups| {
            let program = Program::new(&program::RESHAPE).constant("GROUP_X", group);
            let program = program.constant("INPUT_BITS", input.dtype().bits() as u32);
            let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps)
                .operations([output.shape().elements()])
        })
    }
}
