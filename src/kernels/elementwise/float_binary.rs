//! Candidates of `ops::FloatBinary`: `shaders/elementwise/float_binary.wgsl`. The meaning is `reference/float_binary.rs`.

use super::broadcast;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, parameters};
use crate::ops::{Arithmetic, FloatBinary, PostOp};

parameters! {
    /// `shaders/elementwise/float_binary.wgsl`.
    struct Params {
        dimension: [[u32; 4]; 7],
        dimensions: u32,
        n: u32,
        lhs_row: u32,
        rhs_row: u32,
        lhs_step: u32,
        rhs_step: u32,
        elements: u32,
        unused_0: u32,
    }
}

impl Kernels for FloatBinary {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let params = params(self);
        let elements = self.output.shape().elements();
        line_candidates(name(self.arithmetic), elements, &[], caps, |group, groups| {
            let program = link(Program::new(&program::FLOAT_BINARY), self.arithmetic, 0).constant("GROUP_X", group);
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(2, Resource::Input(1)),
                Binding::write(6, Resource::Output(0)),
            ];
            let launch = Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([elements]);
            broadcast::in_place(launch, [&self.lhs, &self.rhs], self.output.shape())
        })
    }
}

fn name(arithmetic: Arithmetic) -> &'static str {
    match arithmetic {
        Arithmetic::Add => "float add",
        Arithmetic::Multiply => "float multiply",
        Arithmetic::Subtract => "float subtract",
        Arithmetic::Divide => "float divide",
        Arithmetic::Minimum => "float minimum",
        Arithmetic::Maximum => "float maximum",
        Arithmetic::Power => "float power",
        Arithmetic::Equal => "float equal",
        Arithmetic::Less => "float less",
        Arithmetic::LessOrEqual => "float less or equal",
        Arithmetic::Greater => "float greater",
        Arithmetic::GreaterOrEqual => "float greater or equal",
    }
}

/// Adds the operation to a program, by its number in `shaders/elementwise/float_combine.wgsl`. The first number of the program is
/// the lhs (0) or the rhs (1).
pub(in crate::kernels) fn link(program: Program, arithmetic: Arithmetic, position: usize) -> Program {
    // Only those that a residual follows are asked for position 1, and of these only a difference has an order.
    let (operation, reversed) = match arithmetic {
        Arithmetic::Add => (0u32, false),
        Arithmetic::Subtract => (1, position == 1),
        Arithmetic::Multiply => (2, false),
        Arithmetic::Divide => (3, false),
        Arithmetic::Power => (4, false),
        Arithmetic::Minimum => (5, false),
        Arithmetic::Maximum => (6, false),
        Arithmetic::Equal => (7, false),
        Arithmetic::Less => (8, false),
        Arithmetic::LessOrEqual => (9, false),
        Arithmetic::Greater => (8, true),
        Arithmetic::GreaterOrEqual => (9, true),
    };
    program.constant("OPERATION", operation).constant("REVERSED", reversed)
}

fn params(op: &FloatBinary) -> Params {
    let shape = op.output.shape();
    if op.lhs.shape() == op.rhs.shape() {
        // All dimensions as one row.
        let n = shape.elements() as u32;
        return Params { n, lhs_row: n, rhs_row: n, lhs_step: 1, rhs_step: 1, elements: n, ..Params::default() };
    }
    let [lhs_row, rhs_row] = [&op.lhs, &op.rhs].map(|operand| operand.shape().row_length());
    let step = |row: usize| u32::from(row == shape.row_length());
    let (dimension, dimensions) = broadcast::dimensions(&[&op.lhs, &op.rhs], shape, 1);
    Params {
        dimension,
        dimensions,
        n: shape.row_length() as u32,
        lhs_row: lhs_row as u32,
        rhs_row: rhs_row as u32,
        lhs_step: step(lhs_row),
        rhs_step: step(rhs_row),
        elements: shape.elements() as u32,
        ..Params::default()
    }
}
