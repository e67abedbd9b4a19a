//! Candidates of `ops::Add` (`shaders/elementwise/add.wgsl`) and `ops::Multiply` (`shaders/elementwise/multiply.wgsl`). The meaning
//! is `reference/binary.rs`.

use super::broadcast;
use crate::kernels::epilogue::{self, Epilogue};
use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, parameters,
};
use crate::numeric::Multiplier;
use crate::ops::{Add, Addition, Binary, CommonScale, Multiply, Output, PostOp, QuantizedArithmetic};

parameters! {
    /// `shaders/elementwise/params.wgsl`.
    struct Params {
        dimension: [[u32; 4]; 7],
        operands: [u32; 4],
        result: [u32; 4],
        dimensions: u32,
        n: u32,
        lhs_words: u32,
        rhs_words: u32,
        lhs_step: u32,
        rhs_step: u32,
        output_words: u32,
        output_quads: u32,
        quads: u32,
        zero_point: i32,
        low: u32,
        high: u32,
    }
}

impl Kernels for Add {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let [operands, result] = sum_words(self, 0);
        let program = || {
            let program = Program::new(&program::ADD).with(addition(self));
            let rounding = match self.addition() {
                Addition::Integer(_) => Some(epilogue::rounding(self.binary().output.mode())),
                Addition::QOperator(_) | Addition::Qdq => None,
            };
            epilogue::link_post_op(rounding.into_iter().fold(program, Program::with), post_op)
        };
        let params = Params { operands, result, ..params(self.binary()) };
        candidates("add", self.binary(), &params, program, epilogue::post_op_tables(post_op), post_op, caps)
    }
}

/// The WGSL file that adds codes.
pub(crate) fn addition(op: &Add) -> &'static Part {
    match op.addition() {
        Addition::QOperator(_) => &program::ADDITION_QOPERATOR,
        Addition::Qdq => &program::ADDITION_QDQ,
        Addition::Integer(_) => &program::ADDITION_INTEGER,
    }
}

/// The constants of that file: for its operands, of which the first is the op's lhs (0) or rhs (1), and for the result.
pub(crate) fn sum_words(op: &Add, first: usize) -> [[u32; 4]; 2] {
    let output = &op.binary().output;
    let (low, high) = output.bounds();
    let (low, high) = (low as u32, high as u32);
    let parameters = op.binary().parameters();
    let [(scale, zero_point), (other_scale, other_zero_point)] = [parameters[first], parameters[1 - first]];
    let ratios = match op.addition() {
        Addition::QOperator(ratios) => ratios,
        Addition::Qdq => {
            return [
                [scale.to_bits(), zero_point as u32, other_scale.to_bits(), other_zero_point as u32],
                [output.scale().to_bits(), output.zero_point() as u32, low, high],
            ];
        }
        Addition::Integer(CommonScale { operands, output: last, subtract }) => {
            // Multipliers are at most 1/2, so that none shifts left.
            let [(lhs, lhs_shift), (rhs, rhs_shift), (last, last_shift)] =
                [operands[0], operands[1], last].map(Multiplier::words).map(|(word, shift)| (word, (-shift) as u32));
            let shifts = lhs_shift | rhs_shift << 8 | last_shift << 16 | u32::from(subtract) << 24;
            let zero_points = zero_point as u32 & 0xffff | (other_zero_point as u32) << 16;
            return [[lhs, rhs, zero_points, shifts], [last, output.zero_point() as u32, low, high]];
        }
    };
    let by_operand = [ratios.lhs, ratios.rhs];
    let first_joins_first = ratios.lhs_first == (first == 0);
    // 8 ULP of a bound on all intermediate numbers.
    let error = (ratios.offset.abs() + 255.0 * (ratios.lhs + ratios.rhs)) * (1.0 / (1 << 20) as f32);
    [
        [by_operand[first].to_bits(), first_joins_first.into(), by_operand[1 - first].to_bits(), 0],
        [ratios.offset.to_bits(), error.to_bits(), low, high],
    ]
}

impl Kernels for Multiply {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let output = &self.binary.output;
        let params = params(&self.binary);
        let multiplier = self.stage.entry(0, 0).multiplier.map_or(0, |multiplier| multiplier.words().0);
        let (part, result) = match self.arithmetic {
            QuantizedArithmetic::Integer | QuantizedArithmetic::Codes => {
                return multiply_epilogue(self, post_op, |epilogue| {
                    let (op, post_op_of) = (self.clone(), post_op.cloned());
                    let words = move || multiply_epilogue(&op, post_op_of.as_ref(), |epilogue| epilogue.tables());
                    let tables = Constant::new("tables", epilogue.tables_words(), words);
                    let program = Program::new(&program::MULTIPLY).with(&program::MULTIPLICATION_INTEGER);
                    candidates(
                        "multiply",
                        &self.binary,
                        &params,
                        || epilogue.link(program.clone()),
                        Some(tables),
                        post_op,
                        caps,
                    )
                });
            }
            QuantizedArithmetic::QOperator => {
                (&program::MULTIPLICATION_QOPERATOR, [multiplier, (output.zero_point() as f32).to_bits(), 0, 0])
            }
            QuantizedArithmetic::Qdq => (&program::MULTIPLICATION_QDQ, [output.scale().to_bits(), 0, 0, 0]),
        };
        let program = || epilogue::link_post_op(Program::new(&program::MULTIPLY).with(part), post_op);
        let params = Params { result, ..params };
        candidates("multiply", &self.binary, &params, program, epilogue::post_op_tables(post_op), post_op, caps)
    }
}

fn multiply_epilogue<T>(op: &Multiply, post_op: Option<&PostOp>, work: impl FnOnce(Epilogue<'_>) -> T) -> T {
    let output = Output::Requantized(op.binary.output.clone());
    work(Epilogue { output: &output, output_type: &op.binary.output_type, stage: &op.stage, post_op })
}

fn candidates(
    name: &str,
    op: &Binary,
    params: &Params,
    program: impl Fn() -> Program,
    tables: Option<Constant>,
    post_op: Option<&PostOp>,
    caps: &DeviceCaps,
) -> Vec<Candidate> {
    let quads = op.output_type.shape().rows() * epilogue::quads(&op.output_type) as usize;
    line_candidates(name, quads, tables.as_slice(), caps, |group, groups| {
        let program = program()
            .constant("GROUP_X", group)
            .constant("LHS_SIGNED", op.lhs.dtype().is_signed())
            .constant("RHS_SIGNED", op.rhs.dtype().is_signed());
        let bindings = [
            Binding::read(1, Resource::Input(0)),
            Binding::read(2, Resource::Input(1)),
            Binding::write(6, Resource::Output(0)),
        ];
        let tables = tables.is_some().then_some(Binding::read(5, Resource::Constant(0)));
        let bindings = bindings.into_iter().chain(tables);
        let launch = Dispatch::new(program, params, Params::FIELDS, bindings, groups, caps)
            .operations([op.output_type.shape().elements()]);
        let launch = epilogue::bind_post_op(launch, post_op, 2);
        broadcast::in_place(launch, [&op.lhs, &op.rhs], op.output_type.shape())
    })
}

fn params(op: &Binary) -> Params {
    let (low, high) = op.output.bounds();
    let shape = op.output_type.shape();
    let [(lhs_scale, lhs_zero_point), (rhs_scale, rhs_zero_point)] = op.parameters();
    let (dimension, dimensions) = broadcast::dimensions(&[&op.lhs, &op.rhs], shape, 1);
    Params {
        dimension,
        operands: [lhs_scale.to_bits(), lhs_zero_point as u32, rhs_scale.to_bits(), rhs_zero_point as u32],
        result: [0; 4],
        dimensions,
        n: shape.row_length() as u32,
        lhs_words: epilogue::row_words(&op.lhs),
        rhs_words: epilogue::row_words(&op.rhs),
        lhs_step: u32::from(op.lhs.shape().row_length() == shape.row_length()),
        rhs_step: u32::from(op.rhs.shape().row_length() == shape.row_length()),
        output_words: epilogue::row_words(&op.output_type),
        output_quads: epilogue::quads(&op.output_type),
        quads: (shape.rows() * epilogue::quads(&op.output_type) as usize) as u32,
        zero_point: op.output.zero_point(),
        low: low as u32,
        high: high as u32,
    }
}
