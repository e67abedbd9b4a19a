//! Candidates of `ops::BlockQuantize` and `ops::BlockDequantize`. `shaders/convert/block_scales.wgsl` finds the scales. The loop
//! `shaders/convert/convert.wgsl` reads them from their tensor (`shaders/convert/scales_blocks.wgsl`). The meaning is
//! `reference/block.rs`.

use super::convert::{Conversion, Scales, link_decode, link_encode};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_groups, parameters};
use crate::numeric::{BlockFormat, BlockRounding, BlockScales, DType, Minifloat, PowerRounding};
use crate::ops::{BlockDequantize, BlockQuantize, PostOp};

parameters! {
    /// `shaders/convert/block_scales.wgsl`.
    struct Params {
        n: u32,
        blocks: u32,
        input_words: u32,
        output_words: u32,
        words: u32,
        global: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

impl Kernels for BlockQuantize {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (format, input) = (self.format(), self.input().dtype());
        let program = link_decode(Program::new(&program::CONVERT), input).with(&program::QUOTIENT_FLOAT32);
        let program = if format.element().is_minifloat() {
            let program = program.with(&program::STEP_QUANTIZE_FLOAT);
            link_encode(program, format.element(), true, PowerRounding::default())
        } else {
            program.with(&program::STEP_QUANTIZE).constant("BITS", format.element().bits() as u32)
        };
        let scales = Some(Scales::Blocks { scales: Resource::Output(1), format });
        let elements = Conversion {
            name: "block quantize",
            input,
            output: self.elements(),
            program,
            scales,
            range: Some((-127, 127)),
        };
        let candidate = |group: u32| Candidate {
            label: format!("block quantize, groups of {group}"),
            dispatches: find_scales(self, group, caps).into_iter().chain(elements.launch(group, caps)).collect(),
            constants: Vec::new(),
            scratch: Vec::new(),
        };
        line_groups(caps).map(candidate).collect()
    }
}

fn find_scales(op: &BlockQuantize, group: u32, caps: &DeviceCaps) -> Option<Dispatch> {
    let (input, scales, format) = (op.input(), op.scales(), op.format());
    let output_words = epilogue::row_words(scales);
    let words = scales.shape().rows() * output_words as usize;
    if words == 0 {
        return None;
    }
    let params = Params {
        n: input.shape().row_length() as u32,
        blocks: scales.shape().row_length() as u32,
        input_words: epilogue::row_words(input),
        output_words,
        words: words as u32,
        global: format.unit().to_bits(),
        ..Params::default()
    };
    let program = link_decode(Program::new(&program::BLOCK_SCALES), input.dtype())
        .constant("GROUP_X", group)
        .constant("BLOCK", format.size() as u32);
    let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(1))];
    let groups = words.div_ceil(group as usize);
    let launch = Dispatch::new(link_scale(program, format), &params, Params::FIELDS, bindings, groups, caps);
    Some(launch.operations([input.shape().elements()]))
}

/// Adds the WGSL file that computes a scale from the largest size of a block.
fn link_scale(program: Program, format: BlockFormat) -> Program {
    match format.scales() {
        BlockScales::Nested(_) => {
            let program = program.with(&program::BLOCK_SCALE_FLOAT8);
            link_encode(program, DType::Float8E4M3Fn, true, PowerRounding::default())
        }
        BlockScales::Powers(rounding) => {
            let greatest = match Minifloat::of(format.element()) {
                Some(layout) => layout.decode(layout.greatest),
                None => 127.0 * format.unit(),
            };
            let fraction = match rounding {
                BlockRounding::Floor => 0x7f_ffff,
                BlockRounding::Ceil => greatest.to_bits() & 0x7f_ffff,
            };
            program
                .with(&program::BLOCK_SCALE_POWER)
                .constant("ELEMENT_EXPONENT", (greatest.to_bits() >> 23) - 127)
                .constant("ELEMENT_FRACTION", fraction)
        }
    }
}

impl Kernels for BlockDequantize {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (format, input) = (self.format(), self.elements().dtype());
        let program = link_decode(Program::new(&program::CONVERT), input);
        let program = program.with(if input.is_minifloat() {
            &program::STEP_DEQUANTIZE_FLOAT
        } else {
            &program::STEP_DEQUANTIZE
        });
        let program = link_encode(program, self.output().dtype(), true, PowerRounding::default());
        let scales = Some(Scales::Blocks { scales: Resource::Input(1), format });
        let conversion =
            Conversion { name: "block dequantize", input, output: self.output(), program, scales, range: None };
        conversion.candidates(&[], caps)
    }
}
