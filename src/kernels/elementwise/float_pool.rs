//! Candidates of `ops::FloatPool`: `shaders/elementwise/float_pool.wgsl`, or those of `ops::Reduce` if the window is the whole
//! image. The meaning is `reference/float_pool.rs`.

use super::pool;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_candidates};
use crate::ops::{FloatPool, PostOp, Reduce, Reduction};

impl Kernels for FloatPool {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (input, output) = (self.input(), self.output());
        let spatial: Vec<usize> = (1..input.shape().rank() - 1).collect();
        if self.window().is_whole()
            && let Ok(reduce) = Reduce::new(input.clone(), spatial, self.reduction())
        {
            return reduce.candidates(post_op, caps);
        }
        let elements = output.shape().elements();
        let params = pool::Params {
            n: input.shape().row_length() as u32,
            quads: elements as u32,
            count_padding: self.counts_padding().into(),
            ..pool::of_window(self.window())
        };
        let name = if self.reduction() == Reduction::Max { "float max pool" } else { "float average pool" };
        line_candidates(name, elements, &[], caps, |group, groups| {
            let program = Program::new(&program::FLOAT_POOL)
                .constant("GROUP_X", group)
                .constant("MAXIMUM", self.reduction() == Reduction::Max);
            let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
            Dispatch::new(program, &params, pool::Params::FIELDS, bindings, groups, caps)
                .operations([elements, self.window().taps()])
        })
    }
}
