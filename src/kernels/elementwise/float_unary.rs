//! Candidates of `ops::FloatUnary`: `shaders/elementwise/float_unary.wgsl`. The meaning is `reference/float_unary.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{FloatUnary, Function, PostOp};

parameters! {
    /// `shaders/elementwise/float_unary.wgsl`.
    struct Params {
        elements: u32,
        a: u32,
        b: u32,
        unused_0: u32,
    }
}

impl Kernels for FloatUnary {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let elements = self.tensor_type.shape().elements();
        let [a, b] = self.function.parameters().map(f32::to_bits);
        let params = Params { elements: elements as u32, a, b, unused_0: 0 };
        line_candidates(name(self.function), elements, &[], caps, |group, groups| {
            let program = Program::new(&program::FLOAT_UNARY).constant("GROUP_X", group);
            let program = epilogue::link_float_post_op(program.constant("FUNCTION", number(self.function)), post_op);
            let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
            let launch = Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps);
            epilogue::bind_post_op(launch.operations([elements]).in_place(0), post_op, 1)
        })
    }
}

fn name(function: Function) -> &'static str {
    match function {
        Function::Relu => "relu",
        Function::Sigmoid => "sigmoid",
        Function::Tanh => "tanh",
        Function::Silu => "silu",
        Function::Gelu => "gelu",
        Function::GeluTanh => "gelu by tanh",
        Function::Sqrt => "sqrt",
        Function::Exp => "exp",
        Function::Log => "log",
        Function::Abs => "abs",
        Function::Negate => "negate",
        Function::Reciprocal => "reciprocal",
        Function::Erf => "erf",
        Function::Floor => "floor",
        Function::Ceil => "ceil",
        Function::Round => "round",
        Function::Softplus => "softplus",
        Function::HardSigmoid { .. } => "hard sigmoid",
        Function::HardSwish => "hard swish",
        Function::IsNan => "is NaN",
        Function::Clamp { .. } => "clamp",
        Function::LeakyRelu { .. } => "leaky relu",
        Function::Elu { .. } => "elu",
    }
}

/// Adds a function to a program that applies it to what it makes, with its parameters as constants.
pub(in crate::kernels) fn link(program: Program, function: Function) -> Program {
    let [a, b] = function.parameters().map(f32::to_bits);
    program.constant("FUNCTION", number(function)).constant("PARAMETER_A", a).constant("PARAMETER_B", b)
}

/// The function's number in `shaders/elementwise/float_function.wgsl`.
fn number(function: Function) -> u32 {
    match function {
        Function::Relu => 0,
        Function::Sigmoid => 1,
        Function::Tanh => 2,
        Function::Silu => 3,
        Function::Gelu => 4,
        Function::GeluTanh => 5,
        Function::Sqrt => 6,
        Function::Exp => 7,
        Function::Log => 8,
        Function::Abs => 9,
        Function::Negate => 10,
        Function::Reciprocal => 11,
        Function::Erf => 12,
        Function::Floor => 13,
        Function::Ceil => 14,
        Function::Round => 15,
        Function::Softplus => 16,
        Function::HardSigmoid { .. } => 17,
        Function::HardSwish => 18,
        Function::Clamp { .. } => 19,
        Function::LeakyRelu { .. } => 20,
        Function::Elu { .. } => 21,
        Function::IsNan => 22,
    }
}
