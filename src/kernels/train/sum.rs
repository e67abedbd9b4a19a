//! Candidates of `ops::Sum`: `shaders/train/sum.wgsl`, then `shaders/train/sum_partials.wgsl`. The meaning is `reference/sum.rs`.

use super::fake_quantize::total;
use crate::kernels::calibrate::members::{MemberParams, Members};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_groups};
use crate::ops::{PostOp, Sum};

/// Number of members that one workgroup sums.
const CHUNK: usize = 8192;

impl Kernels for Sum {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let members = Members::new(self.granularity, self.input.shape());
        let chunks = members.longest.div_ceil(CHUNK).max(1);
        let partials = members.segments * chunks;
        let candidate = |group: u32| {
            let program =
                Program::new(&program::SUM).constant("GROUP_X", group).constant("CONTIGUOUS", members.contiguous);
            let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Scratch(0))];
            let sums = Dispatch::new(
                program,
                &members.parameters(CHUNK, chunks),
                MemberParams::FIELDS,
                bindings,
                partials,
                caps,
            )
            .operations([members.segments, members.longest]);
            Candidate {
                label: format!("sum, groups of {group}"),
                dispatches: match members.segments {
                    0 => Vec::new(),
                    segments => vec![sums, total(chunks, segments, 1, 1.0, group, caps)],
                },
                constants: Vec::new(),
                scratch: vec![partials * 2],
            }
        };
        line_groups(caps).map(candidate).collect()
    }
}
