//! Candidates of `ops::Gather`: `shaders/layout/gather.wgsl`. The meaning is `reference/gather.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{Gather, PostOp};

parameters! {
    /// `shaders/layout/gather.wgsl`.
    struct Params {
        n: u32,
        data_n: u32,
        words: u32,
        data_words: u32,
        invocations: u32,
        count: u32,
        extent: u32,
        inner: u32,
        fill: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

impl Kernels for Gather {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (data, output) = (&self.data, &self.output);
        let bits = data.dtype().bits() as u32;
        let words = epilogue::row_words(output);
        let invocations = output.shape().rows() * words as usize;
        let params = Params {
            n: output.shape().row_length() as u32,
            data_n: data.shape().row_length() as u32,
            words,
            data_words: epilogue::row_words(data),
            invocations: invocations as u32,
            count: self.indices.shape().elements() as u32,
            extent: data.dims()[self.axis] as u32,
            inner: data.dims()[self.axis + 1..].iter().product::<usize>() as u32,
            fill: self.fill() as u32 & u32::MAX >> (32 - bits),
            ..Params::default()
        };
        line_candidates("gather", invocations, &[], caps, |group, groups| {
            let program = Program::new(&program::GATHER).constant("BITS", bits).constant("GROUP_X", group);
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(2, Resource::Input(1)),
                Binding::write(6, Resource::Output(0)),
            ];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps)
                .operations([output.shape().elements()])
        })
    }
}
