//! Candidates of `ops::Resize`: `shaders/layout/resize.wgsl` if it interpolates. In nearest-neighbour mode elements only move, as
//! in `rearrange.rs`. The meaning is `reference/resize.rs`.

use super::rearrange::{self, Moves};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{PostOp, Resize};

parameters! {
    /// `shaders/layout/resize.wgsl`.
    struct Params {
        size: [u32; 4],
        n: u32,
        input_words: u32,
        output_words: u32,
        quads: u32,
    }
}

impl Kernels for Resize {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        if let Some(moves) = Moves::resize(self) {
            let op = self.clone();
            let tables = move || Moves::resize(&op).map_or(Vec::new(), |moves| rearrange::tables(&moves));
            return rearrange::candidates(&moves, tables, caps);
        }
        let (input, output, spatial) = (self.input(), self.output(), self.spatial());
        let mut size = [1, 1, 1, input.dims()[1..=spatial].iter().product::<usize>() as u32];
        for (axis, size) in (1..=spatial).zip(&mut size[3 - spatial..3]) {
            *size = output.dims()[axis] as u32;
        }
        let quads = output.shape().rows() * epilogue::quads(output) as usize;
        let params = Params {
            size,
            n: output.shape().row_length() as u32,
            input_words: epilogue::row_words(input),
            output_words: epilogue::row_words(output),
            quads: quads as u32,
        };
        line_candidates(
            "linear resize",
            quads,
            &[Constant::new("samples", samples_words(self), {
                let op = self.clone();
                move || samples(&op)
            })],
            caps,
            |group, groups| {
                let program = Program::new(&program::RESIZE)
                    .constant("GROUP_X", group)
                    .constant("INPUT_BITS", 8u32)
                    .constant("INPUT_SIGNED", input.dtype().is_signed())
                    .constant("AXES", spatial as u32)
                    .constant("SHIFT", self.weight_bits() * spatial as u32);
                let bindings = [
                    Binding::read(1, Resource::Input(0)),
                    Binding::read(5, Resource::Constant(0)),
                    Binding::write(6, Resource::Output(0)),
                ];
                Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps)
                    .operations([output.shape().elements(), 1 << (spatial + 1)])
            },
        )
    }
}

/// Number of words in [`samples`].
fn samples_words(op: &Resize) -> usize {
    let samples: usize = op.output().dims()[1..=op.spatial()].iter().sum();
    4 * (3 - op.spatial() + samples)
}

/// For each output index along each axis, the two input indices around it and their weights.
fn samples(op: &Resize) -> Vec<u32> {
    let (spatial, unit) = (op.spatial(), 1u32 << op.weight_bits());
    // A missing axis has one index, which adds nothing.
    let mut words = vec![0; 4 * (3 - spatial)];
    for axis in 1..=spatial {
        let stride: usize = op.input().dims()[axis + 1..=spatial].iter().product();
        for index in 0..op.output().dims()[axis] {
            let between = op.between(axis, index);
            let weight = between.weight as u32;
            words.extend([(between.lower * stride) as u32, (between.upper * stride) as u32, unit - weight, weight]);
        }
    }
    words
}
