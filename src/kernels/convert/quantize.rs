//! Candidates of `ops::Quantize` and `ops::Dequantize`: `shaders/convert/convert.wgsl` with `shaders/convert/step_quantize*.wgsl`
//! or `shaders/convert/step_dequantize*.wgsl`. int32 codes are dequantized by `shaders/convert/rescale.wgsl` with the output stage
//! `shaders/epilogue/real_f32.wgsl`. The meaning is `reference/quantize.rs`.

use super::convert::{Conversion, Scales, link_decode, link_encode};
use super::granularity;
use super::requantize::rescale;
use crate::kernels::epilogue::Epilogue;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource};
use crate::numeric::{DType, PowerRounding};
use crate::ops::{Dequantize, Output, PostOp, Quantize, Stage, StageEntry};
use crate::tensor::{Granularity, TensorType};

/// Adds the quantization of real numbers to a loop that calls `convert`.
pub(crate) fn link_quantize(program: Program, op: &Quantize) -> Program {
    let quotient = match (op.halves_quotients(), op.rounds_away()) {
        (true, _) => &program::QUOTIENT_FLOAT16,
        (false, true) => &program::QUOTIENT_TIES_AWAY,
        (false, false) => &program::QUOTIENT_FLOAT32,
    };
    let program = link_decode(program, op.input().dtype()).with(quotient);
    match op.output().dtype() {
        format if format.is_minifloat() => {
            let program = program.with(&program::STEP_QUANTIZE_FLOAT);
            link_encode(program, format, op.saturates(), PowerRounding::default())
        }
        format => program.with(&program::STEP_QUANTIZE).constant("BITS", format.bits() as u32),
    }
}

/// Adds the dequantization of codes to a loop that calls `convert`.
pub(crate) fn link_dequantize(program: Program, op: &Dequantize) -> Program {
    let input = op.input().dtype();
    let part = if input.is_minifloat() { &program::STEP_DEQUANTIZE_FLOAT } else { &program::STEP_DEQUANTIZE };
    link_encode(link_decode(program, input).with(part), op.output().dtype(), true, PowerRounding::default())
}

impl Kernels for Quantize {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let input = self.input().dtype();
        let program = link_quantize(Program::new(&program::CONVERT), self);
        let scales = Some(Scales::Table(Resource::Constant(0), self.granularity()));
        let conversion = Conversion { name: "quantize", input, output: self.output(), program, scales, range: None };
        conversion.candidates(&[granularity::constant(self.quantization())], caps)
    }
}

/// Adds the quantization of float32 to integer codes to a loop that calls `convert`.
pub(crate) fn link_codes(program: Program, codes: DType) -> Program {
    link_decode(program, DType::Float32)
        .with(&program::QUOTIENT_FLOAT32)
        .with(&program::STEP_QUANTIZE)
        .constant("BITS", codes.bits() as u32)
}

/// The launch that quantizes float32 to integer codes of this type, with parameters from any buffer.
pub(crate) fn launch(
    output: &TensorType,
    granularity: Granularity,
    parameters: Resource,
    group: u32,
    caps: &DeviceCaps,
) -> Option<Dispatch> {
    let program = link_codes(Program::new(&program::CONVERT), output.dtype());
    let scales = Some(Scales::Table(parameters, granularity));
    let conversion = Conversion { name: "quantize", input: DType::Float32, output, program, scales, range: None };
    conversion.launch(group, caps)
}

impl Kernels for Dequantize {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let input = self.input().dtype();
        if input == DType::Int32 {
            return dequantize_epilogue(self, |epilogue| {
                let op = self.clone();
                let tables = move || dequantize_epilogue(&op, |epilogue| epilogue.tables());
                let tables = Constant::new("tables", epilogue.tables_words(), tables);
                rescale("dequantize", self.input(), self.granularity(), epilogue, tables, caps)
            });
        }
        let program = link_dequantize(Program::new(&program::CONVERT), self);
        let scales = Some(Scales::Table(Resource::Constant(0), self.granularity()));
        let conversion = Conversion { name: "dequantize", input, output: self.output(), program, scales, range: None };
        conversion.candidates(&[granularity::constant(self.quantization())], caps)
    }
}

fn dequantize_epilogue<T>(op: &Dequantize, work: impl FnOnce(Epilogue<'_>) -> T) -> T {
    let stage = dequantize_entries(op);
    work(Epilogue { output: &Output::real(), output_type: op.output(), stage: &stage, post_op: None })
}

/// One entry per scale. The accumulator is the code, and the bias subtracts the zero point.
fn dequantize_entries(op: &Dequantize) -> Stage {
    let quantization = op.quantization().clone();
    let scales = quantization.scales().len();
    let entry = move |i: usize| StageEntry {
        bias: -i64::from(quantization.zero_point(i)),
        multiplier: None,
        scale: quantization.scale(i),
        real_bias: None,
    };
    Stage::per_column(scales, entry)
}
