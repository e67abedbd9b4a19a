//! The epilogue of a linked program: its WGSL files, its parameters, and the tables that they read. The files are
//! `shaders/epilogue/*.wgsl`.

use crate::kernels::elementwise::{binary, float_binary, float_unary};
use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{Binding, Constant, Dispatch, Resource};
use crate::numeric::{DType, Multiplier, Rounding};
use crate::ops::{Output, PostOp, Stage, StageEntry};
use crate::tensor::TensorType;

/// The output stage of an op's accumulators, and the post-op of its codes.
#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    pub output: &'a Output,
    /// The output of the op itself. With a post-op its codes are not stored.
    pub output_type: &'a TensorType,
    pub stage: &'a Stage,
    pub post_op: Option<&'a PostOp>,
}

impl Epilogue<'_> {
    /// Adds the output stage and the post-op to a program whose sums fit i32.
    pub(super) fn link(&self, program: Program) -> Program {
        match self.output {
            Output::Accumulator => program.with(&program::ACCUMULATOR).constant("STAGE_AT", 0u32),
            Output::Real { .. } | Output::Float16 { .. } => {
                self.link_real(program, [&program::REAL_F32, &program::REAL_F16])
            }
            Output::Requantized(stage) => {
                self.link_store(program.with(&program::REQUANTIZE).with(rounding(stage.mode())))
            }
        }
    }

    /// Adds them to a program whose sums come in high and low bytes. `wide` sums need more than 32 bits.
    pub(super) fn link_halves(&self, program: Program, wide: bool) -> Program {
        if !wide {
            return self.link(program.with(&program::SUMS_I32));
        }
        match self.output {
            Output::Accumulator => unreachable!("the op refuses raw sums beyond i32"),
            Output::Real { .. } | Output::Float16 { .. } => {
                self.link_real(program, [&program::WIDE_REAL_F32, &program::WIDE_REAL_F16])
            }
            Output::Requantized(stage) => {
                let rounding = match stage.mode() {
                    Rounding::Onnx => &program::ROUNDING_WIDE_ONNX,
                    Rounding::FixedWide => &program::ROUNDING_FIXED_WIDE,
                    mode => unreachable!("the op refuses {mode:?} of sums beyond i32"),
                };
                self.link_store(program.with(&program::WIDE_REQUANTIZE).with(rounding))
            }
        }
    }

    /// Adds the output stage of real numbers: the first file for float32, the second for float16.
    fn link_real(&self, program: Program, [float32, float16]: [&'static Part; 2]) -> Program {
        let biased = self.stage.has_real_bias();
        let part = if self.output_type.dtype() == DType::Float16 { float16 } else { float32 };
        program.with(part).constant("REAL_BIAS", biased).constant("STAGE_AT", 0u32)
    }

    /// Adds the store of codes.
    fn link_store(&self, program: Program) -> Program {
        match self.output_type.dtype().bits() {
            16 => program.with(&program::CODES16).constant("STAGE_AT", 0u32),
            _ => link_post_op(program.with(&program::STORE_CODES), self.post_op),
        }
    }

    /// The parameters that every output stage reads.
    pub(super) fn parameters(&self) -> StageParameters {
        let (zero_point, low, high) = match self.output {
            Output::Accumulator => (0, 0, 0),
            Output::Real { low, high } | Output::Float16 { low, high } => (0, order(*low), order(*high)),
            Output::Requantized(stage) => {
                let (low, high) = stage.bounds();
                (stage.zero_point(), low as u32, high as u32)
            }
        };
        StageParameters {
            output_quads: quads(self.output_type),
            output_words: row_words(self.output_type),
            zero_point,
            low,
            high,
        }
    }

    /// Begin of the rows in the tables: after the entries of the post-op and the output stage.
    pub(super) fn rows_at(&self) -> usize {
        post_op_entries(self.post_op) + self.stage.len()
    }

    /// Number of words of [`tables`](Self::tables).
    pub(super) fn tables_words(&self) -> usize {
        4 * self.rows_at()
    }

    /// The tables up to [`rows_at`](Self::rows_at): the entries of the post-op, then of the output stage. An entry of the stage is
    /// low word of the bias, multiplier, shift and high word; or low word, scale, high word and real bias.
    pub(super) fn tables(&self) -> Vec<u32> {
        let mut words = post_op_words(self.post_op);
        words.extend(self.stage.entries().flat_map(entry_words));
        words
    }
}

/// The words of an entry of an output stage.
pub(super) fn entry_words(entry: StageEntry) -> [u32; 4] {
    let (low, high) = (entry.bias as u32, (entry.bias >> 32) as u32);
    match entry.multiplier.map(Multiplier::words) {
        Some((multiplier, shift)) => [low, multiplier, shift as u32, high],
        None => [low, entry.scale.to_bits(), high, entry.real_bias.unwrap_or(0.0).to_bits()],
    }
}

/// The parameters that every output stage reads.
pub(super) struct StageParameters {
    pub output_quads: u32,
    pub output_words: u32,
    pub zero_point: i32,
    pub low: u32,
    pub high: u32,
}

/// The WGSL file that rescales i32.
pub(super) fn rounding(mode: Rounding) -> &'static Part {
    match mode {
        Rounding::Onnx => &program::ROUNDING_ONNX,
        Rounding::FixedSingle => &program::ROUNDING_FIXED_SINGLE,
        Rounding::FixedDouble => &program::ROUNDING_FIXED_DOUBLE,
        Rounding::FixedWide => &program::ROUNDING_FIXED_WIDE,
    }
}

/// Adds a post-op to a program that stores codes.
pub(super) fn link_post_op(program: Program, post_op: Option<&PostOp>) -> Program {
    let program = program.constant("STAGE_AT", post_op_entries(post_op) as u32);
    match post_op {
        None => program.with(&program::POST_OP_NONE),
        Some(
            PostOp::Quantize(_)
            | PostOp::Dequantize(_)
            | PostOp::DynamicQuantize(_)
            | PostOp::FloatUnary(_)
            | PostOp::FloatBinary(..),
        ) => {
            unreachable!("no post-op of codes")
        }
        Some(PostOp::Table(_)) => program.with(&program::POST_OP_TABLE),
        Some(PostOp::Add(add, position)) => {
            let residual = [&add.binary().lhs, &add.binary().rhs][1 - position];
            let program = program.with(&program::POST_OP_ADD).with(binary::addition(add));
            program.constant("RESIDUAL_SIGNED", residual.dtype().is_signed())
        }
    }
}

/// Binds the post-op's residual, if it has one. The output may overwrite it. `residual` is its index among the inputs.
pub(super) fn bind_post_op(mut launch: Dispatch, post_op: Option<&PostOp>, residual: usize) -> Dispatch {
    let slot = match post_op {
        Some(PostOp::Add(..)) => 4,
        Some(PostOp::FloatBinary(..)) => 7,
        _ => return launch,
    };
    launch.bindings.push(Binding::read(slot, Resource::Input(residual)));
    launch.in_place(residual)
}

/// Adds the store of float32 or float16 numbers. A post-op comes before it, if they are float32.
pub(super) fn link_store_reals(program: Program, dtype: DType, post_op: Option<&PostOp>) -> Program {
    match dtype {
        DType::Float16 => program.with(&program::STORE_F16),
        _ => link_float_post_op(program.with(&program::STORE_F32), post_op),
    }
}

/// Adds a post-op to a program that stores float32 numbers.
pub(super) fn link_float_post_op(program: Program, post_op: Option<&PostOp>) -> Program {
    match post_op {
        None => program.with(&program::FLOAT_POST_OP_NONE),
        Some(PostOp::FloatUnary(op)) => float_unary::link(program.with(&program::FLOAT_POST_OP_UNARY), op.function),
        Some(PostOp::FloatBinary(op, position)) => {
            float_binary::link(program.with(&program::FLOAT_POST_OP_BINARY), op.arithmetic, *position)
        }
        Some(
            PostOp::Table(_)
            | PostOp::Add(..)
            | PostOp::Quantize(_)
            | PostOp::Dequantize(_)
            | PostOp::DynamicQuantize(_),
        ) => {
            unreachable!("no post-op of floats")
        }
    }
}

/// The tables of an op without an output stage: those of its post-op, if there is one.
pub(super) fn post_op_tables(post_op: Option<&PostOp>) -> Option<Constant> {
    let of = post_op?.clone();
    Some(Constant::new("tables", 4 * post_op_entries(post_op), move || post_op_words(Some(&of))))
}

/// Number of vec4s of the tables that a post-op reads.
pub(super) fn post_op_entries(post_op: Option<&PostOp>) -> usize {
    post_op_words(post_op).len() / 4
}

/// The entries of the tables that a post-op reads.
pub(super) fn post_op_words(post_op: Option<&PostOp>) -> Vec<u32> {
    match post_op {
        Some(PostOp::Table(table)) => crate::kernels::elementwise::table::words(table),
        Some(PostOp::Add(add, position)) => binary::sum_words(add, *position).concat(),
        _ => Vec::new(),
    }
}

/// The words of a row.
pub(super) fn row_words(tensor_type: &TensorType) -> u32 {
    tensor_type.dtype().row_words(tensor_type.shape().row_length()) as u32
}

/// Number of quads of a row, including padding if several elements share a word.
pub(super) fn quads(tensor_type: &TensorType) -> u32 {
    match tensor_type.dtype().bits() {
        bits @ ..32 => (row_words(tensor_type) as usize * 8 / bits) as u32,
        _ => tensor_type.shape().row_length().div_ceil(4) as u32,
    }
}

/// The integer key with the order of f32 (`f32_order` in `shaders/math/float_bits.wgsl`).
fn order(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}
