//! Candidates of `ops::FloatUnary`: `shaders/elementwise/float_unary.wgsl`. The meaning is `reference/float_unary.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, parameters};
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
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let elements = self.tensor_type.shape().elements();
        let params = Params { elements: elements as u32, ..Params::default() };
        let (name, function) = match self.function {
            Function::Relu => ("relu", 0u32),
            Function::Sigmoid => ("sigmoid", 1u32),
            Function::Tanh => ("tanh", 2u32),
            Function::Silu => ("silu", 3u32),
            Function::Gelu => ("gelu", 4u32),
            Function::GeluTanh => ("gelu by tanh", 5u32),
        };
        line_candidates(name, elements, &[], caps, |group, groups| {
            let program = Program::new(&program::FLOAT_UNARY).constant("FUNCTION", function).constant("GROUP_X", group);
            let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
            Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([elements]).in_place(0)
        })
    }
}
