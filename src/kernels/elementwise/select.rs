//! Candidates of `ops::Select`: `shaders/elementwise/select.wgsl`. The meaning is `reference/select.rs`.

use super::broadcast;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{OpDef, PostOp, Select};

parameters! {
    /// `shaders/elementwise/select.wgsl`.
    struct Params {
        dimension: [[u32; 4]; 7],
        row: [u32; 4],
        step: [u32; 4],
        dimensions: u32,
        n: u32,
        elements: u32,
        unused_0: u32,
    }
}

impl Kernels for Select {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let params = params(self);
        let elements = self.output.shape().elements();
        line_candidates("select", elements, &[], caps, |group, groups| {
            let codes = self.condition.dtype().bits() == 8;
            let program = Program::new(&program::SELECT).constant("CODES", codes).constant("GROUP_X", group);
            let inputs = (0..3).map(|i| Binding::read(1 + i as u32, Resource::Input(i)));
            let bindings = inputs.chain([Binding::write(6, Resource::Output(0))]);
            let mut launch =
                Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([elements]);
            for (input, operand) in self.inputs().iter().enumerate() {
                // A word of codes is read by four invocations.
                if operand.shape() == self.output.shape() && operand.dtype().bits() == 32 {
                    launch = launch.in_place(input);
                }
            }
            launch
        })
    }
}

fn params(op: &Select) -> Params {
    let (inputs, shape) = (op.inputs(), op.output.shape());
    let (dimension, dimensions) = broadcast::dimensions(&inputs.iter().collect::<Vec<_>>(), shape, 1);
    let [mut row, mut step] = [[0; 4]; 2];
    for (i, operand) in inputs.iter().enumerate() {
        row[i] = epilogue::row_words(operand);
        step[i] = u32::from(operand.shape().row_length() == shape.row_length());
    }
    let (n, elements) = (shape.row_length() as u32, shape.elements() as u32);
    Params { dimension, row, step, dimensions, n, elements, unused_0: 0 }
}
