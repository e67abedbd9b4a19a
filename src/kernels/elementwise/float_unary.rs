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
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

impl Kernels for FloatUnary {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let elements = self.tensor_type.shape().elements();
        let params = Params { elements: elements as u32, ..Params::default() };
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
    }
}

/// The function's number in `shaders/elementwise/float_function.wgsl`.
pub(in crate::kernels) fn number(function: Function) -> u32 {
    match function {
        Function::Relu => 0,
        Function::Sigmoid => 1,
        Function::Tanh => 2,
        Function::Silu => 3,
        Function::Gelu => 4,
        Function::GeluTanh => 5,
    }
}
