//! Output stages of linked programs: which parts, which parameters, and the table of entries. The stages themselves are
//! `shaders/output/*.wgsl` and `shaders/rounding/*.wgsl`.

use super::program::{self, Program};
use crate::numeric::Rounding;
use crate::ops::{Output, Stage};
use crate::tensor::TensorType;

/// Adds an output stage to a program.
pub(super) fn link(program: Program, output: &Output, stage: &Stage) -> Program {
    match output {
        Output::Accumulator => program.with(&program::OUTPUT_ACCUMULATOR),
        Output::Real { .. } => {
            let biased = stage.entries.iter().any(|entry| entry.real_bias.is_some());
            program.with(&program::OUTPUT_REAL).constant("REAL_BIAS", biased)
        }
        Output::Requantized(stage) => program.with(&program::OUTPUT_REQUANTIZE).with(match stage.mode() {
            Rounding::Onnx => &program::ROUNDING_ONNX,
            Rounding::FixedSingle => &program::ROUNDING_FIXED_SINGLE,
            Rounding::FixedDouble => &program::ROUNDING_FIXED_DOUBLE,
        }),
    }
}

/// The parameters that every stage reads.
pub(super) struct StageParameters {
    pub output_quads: u32,
    pub output_words: u32,
    pub zero_point: i32,
    pub low: u32,
    pub high: u32,
}

/// Parameters of a stage that writes tensors of this type.
pub(super) fn parameters(output: &Output, output_type: &TensorType) -> StageParameters {
    let (zero_point, low, high) = match output {
        Output::Accumulator => (0, 0, 0),
        Output::Real { low, high } => (0, order(*low), order(*high)),
        Output::Requantized(stage) => {
            let (low, high) = stage.bounds();
            (stage.zero_point(), low as u32, high as u32)
        }
    };
    StageParameters { output_quads: quads(output_type), output_words: row_words(output_type), zero_point, low, high }
}

/// The words of a row.
pub(super) fn row_words(tensor_type: &TensorType) -> u32 {
    tensor_type.format().row_words(tensor_type.shape().row_length()) as u32
}

/// The quads that make a row: with its padding where codes are packed four per word.
pub(super) fn quads(tensor_type: &TensorType) -> u32 {
    match tensor_type.format().bits() {
        8 => row_words(tensor_type),
        _ => tensor_type.shape().row_length().div_ceil(4) as u32,
    }
}

/// The integer key that orders f32 (`f32_order` in `shaders/lib/float_bits.wgsl`).
fn order(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// The table of entries as the stages read it: bias, multiplier or scale, shift, real bias.
pub(super) fn words(stage: &Stage) -> Vec<u32> {
    let entries = stage.entries.iter().flat_map(|entry| {
        let (multiplier, shift) = entry.multiplier.map_or((entry.scale.to_bits(), 0), |m| m.words());
        [entry.bias as u32, multiplier, shift as u32, entry.real_bias.unwrap_or(0.0).to_bits()]
    });
    entries.collect()
}
