//! Candidates of `ops::Quantize` (`shaders/quantize.wgsl`) and `ops::Dequantize` (`shaders/rescale.wgsl` with the stage
//! `shaders/output/real.wgsl`). The meaning is `reference/quantize.rs`.

use super::cast::link_decode;
use super::dispatch::{Binding, Candidate, Constant, Dispatch, Limits, Resource, parameters};
use super::program::{self, Program};
use super::requantize::rescale;
use super::stage::{self, Epilogue};
use super::{granularity, line_groups};
use crate::numeric::Format;
use crate::ops::{Dequantize, Output, Quantize, Stage, StageEntry};
use crate::tensor::{Granularity, TensorType};

parameters! {
    /// `shaders/quantize.wgsl`.
    struct Params {
        index_sizes: [u32; 4],
        index_strides: [u32; 4],
        n: u32,
        output_words: u32,
        words: u32,
        low: i32,
        high: i32,
        input_words: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

pub(super) fn quantize_candidates(op: &Quantize, limits: &Limits) -> Vec<Candidate> {
    let candidate = |group: u32| Candidate {
        label: format!("quantize, groups of {group}"),
        dispatches: launch(op.input().format(), op.output(), op.granularity(), Resource::Constant(0), group, limits)
            .into_iter()
            .collect(),
        constants: vec![Constant::Parameters],
        scratch: Vec::new(),
    };
    line_groups(limits).map(candidate).collect()
}

/// The launch that writes codes of this type, from floats of a format, with parameters from anywhere.
pub(super) fn launch(
    input: Format,
    output: &TensorType,
    granularity: Granularity,
    parameters: Resource,
    group: u32,
    limits: &Limits,
) -> Option<Dispatch> {
    let shape = output.shape();
    let words = shape.rows() * stage::row_words(output) as usize;
    if words == 0 {
        return None;
    }
    let (low, high) = output.format().range().expect("an integer format");
    let (index_sizes, index_strides) = granularity::strides(granularity, shape);
    let params = Params {
        index_sizes,
        index_strides,
        n: shape.row_length() as u32,
        output_words: stage::row_words(output),
        words: words as u32,
        low,
        high,
        input_words: input.row_words(shape.row_length()) as u32,
        ..Params::default()
    };
    let program = link_decode(Program::new(&program::QUANTIZE), input)
        .constant("GROUP_X", group)
        .constant("BITS", output.format().bits() as u32);
    let bindings =
        [Binding::read(1, Resource::Input(0)), Binding::read(3, parameters), Binding::write(6, Resource::Output(0))];
    let groups = words.div_ceil(group as usize);
    Some(
        Dispatch::new(program, &params, Params::FIELDS, bindings, groups, limits).operations(output.shape().elements()),
    )
}

pub(super) fn dequantize_candidates(op: &Dequantize, limits: &Limits) -> Vec<Candidate> {
    dequantize_epilogue(op, |epilogue| rescale("dequantize", op.input(), op.granularity(), epilogue, limits))
}

pub(super) fn dequantize_tables(op: &Dequantize) -> Vec<u32> {
    dequantize_epilogue(op, |epilogue| epilogue.tables())
}

fn dequantize_epilogue<T>(op: &Dequantize, work: impl FnOnce(Epilogue<'_>) -> T) -> T {
    let stage = dequantize_entries(op);
    work(Epilogue { output: &Output::real(), output_type: op.output(), stage: &stage, finish: None })
}

/// One entry per scale: the accumulator is the code, the bias takes the zero point away.
fn dequantize_entries(op: &Dequantize) -> Stage {
    let quantization = op.quantization();
    let entry = |i: usize| StageEntry {
        bias: -quantization.zero_point(i),
        multiplier: None,
        scale: quantization.scale(i),
        real_bias: None,
    };
    Stage { entries: (0..quantization.scales().len()).map(entry).collect(), row_stride: 0 }
}
