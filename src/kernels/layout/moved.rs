//! The conversion of elements that move, `shaders/convert/step_*.wgsl`: none, or the op that follows a transposition in
//! `ops::Fused`. The moves themselves are in `rearrange` and `transpose`.

use crate::kernels::convert::quantize;
use crate::kernels::launch::program::{self, Program};
use crate::numeric::DType;
use crate::ops::PostOp;
use crate::tensor::{Quantization, TensorType};

/// Elements that move.
#[derive(Clone, Copy)]
pub(crate) struct Moved<'a> {
    pub input: &'a TensorType,
    pub output: &'a TensorType,
    pub post_op: Option<&'a PostOp>,
}

/// The parameters of a conversion with one scale for all elements.
#[derive(Default)]
pub(crate) struct Entry {
    pub scale: u32,
    pub zero_point: i32,
    pub low: i32,
    pub high: i32,
}

impl<'a> Moved<'a> {
    pub(crate) fn new(input: &'a TensorType, output: &'a TensorType, post_op: Option<&'a PostOp>) -> Self {
        let output = match post_op {
            Some(PostOp::Quantize(op)) => op.output(),
            Some(PostOp::Dequantize(op)) => op.output(),
            _ => output,
        };
        Self { input, output, post_op }
    }

    /// The bits of an element before and after.
    pub(crate) fn bits(&self) -> [u32; 2] {
        [self.input, self.output].map(|t| t.dtype().bits() as u32)
    }

    /// Adds the conversion to a program.
    pub(crate) fn link(&self, program: Program) -> Program {
        match self.post_op {
            Some(PostOp::Quantize(op)) => quantize::link_quantize(program, op),
            Some(PostOp::Dequantize(op)) => quantize::link_dequantize(program, op),
            _ => {
                let [input_bits, bits] = self.bits();
                program.with(&program::STEP_NONE).constant("INPUT_BITS", input_bits).constant("BITS", bits)
            }
        }
    }

    /// The conversion's parameters.
    pub(crate) fn entry(&self) -> Entry {
        let entry = |quantization: &Quantization, codes: DType| {
            let (low, high) = codes.range().unwrap_or_default();
            Entry { scale: quantization.scale(0).to_bits(), zero_point: quantization.zero_point(0), low, high }
        };
        match self.post_op {
            Some(PostOp::Quantize(op)) => entry(op.quantization(), op.output().dtype()),
            Some(PostOp::Dequantize(op)) => entry(op.quantization(), op.input().dtype()),
            _ => Entry::default(),
        }
    }
}
