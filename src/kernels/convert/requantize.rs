//! Candidates of `ops::Requantize`, and the launch that dequantization shares with it: `shaders/convert/rescale.wgsl` with an input
//! format and an output stage. The meaning is `reference/requantize.rs`.

use super::granularity;
use crate::kernels::epilogue::{self, Epilogue};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, parameters,
};
use crate::ops::{Output, PostOp, Requantize};
use crate::tensor::{Granularity, TensorType};

parameters! {
    /// `shaders/convert/rescale.wgsl`.
    struct Params {
        index_sizes: [u32; 4],
        index_strides: [u32; 4],
        n: u32,
        input_words: u32,
        output_words: u32,
        output_quads: u32,
        quads: u32,
        zero_point: i32,
        low: u32,
        high: u32,
    }
}

impl Kernels for Requantize {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let tables = {
            let (op, post_op) = (self.clone(), post_op.cloned());
            let words = epilogue(self, post_op.as_ref(), |epilogue| epilogue.tables_words());
            Constant::new("tables", words, move || epilogue(&op, post_op.as_ref(), |epilogue| epilogue.tables()))
        };
        epilogue(self, post_op, |epilogue| {
            rescale("requantize", self.input(), self.granularity(), epilogue, tables, caps)
        })
    }
}

fn epilogue<T>(op: &Requantize, post_op: Option<&PostOp>, work: impl FnOnce(Epilogue<'_>) -> T) -> T {
    let output = Output::Requantized(op.output().clone());
    work(Epilogue { output: &output, output_type: op.output_type(), stage: op.stage(), post_op })
}

/// Adds the constants of an input of integers (`shaders/convert/integer_input.wgsl`).
pub(crate) fn link_input(program: Program, input: &TensorType) -> Program {
    let dtype = input.dtype();
    program.constant("INPUT_BITS", dtype.bits() as u32).constant("INPUT_SIGNED", dtype.is_signed())
}

pub(crate) fn rescale(
    name: &str,
    input: &TensorType,
    granularity: Granularity,
    epilogue: Epilogue<'_>,
    tables: Constant,
    caps: &DeviceCaps,
) -> Vec<Candidate> {
    let stage = epilogue.parameters();
    let quads = input.shape().rows() * stage.output_quads as usize;
    let (index_sizes, index_strides) = granularity::strides(granularity, input.shape());
    let params = Params {
        index_sizes,
        index_strides,
        n: input.shape().row_length() as u32,
        input_words: epilogue::row_words(input),
        output_words: stage.output_words,
        output_quads: stage.output_quads,
        quads: quads as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
    };
    let both_8_bit = input.dtype().is_8_bit() && epilogue.output_type.dtype().is_8_bit();
    line_candidates(name, quads, &[tables], caps, |group, groups| {
        let program = epilogue.link(Program::new(&program::RESCALE));
        let program = link_input(program, input).constant("GROUP_X", group);
        let bindings = [
            Binding::read(1, Resource::Input(0)),
            Binding::read(5, Resource::Constant(0)),
            Binding::write(6, Resource::Output(0)),
        ];
        let launch = Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps)
            .operations([input.shape().elements()]);
        let launch = epilogue::bind_post_op(launch, epilogue.post_op, 1);
        if both_8_bit { launch.in_place(0) } else { launch }
    })
}
