//! Candidates of `ops::Sum`: `shaders/train/sum.wgsl`, then `shaders/train/sum_partials.wgsl`. The meaning is `reference/sum.rs`.

use super::fake_quantize::total;
use crate::kernels::calibrate::members::Members;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_groups, parameters};
use crate::ops::{PostOp, Sum};

parameters! {
    /// `shaders/train/sum.wgsl`.
    struct Params {
        member_counts: [u32; 4],
        member_strides: [u32; 4],
        segment_counts: [u32; 4],
        segment_strides: [u32; 4],
        chunk: u32,
        chunks: u32,
        partials: u32,
        unused_0: u32,
    }
}

/// Number of members that one workgroup sums.
const CHUNK: usize = 8192;

impl Kernels for Sum {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let members = Members::new(self.granularity, self.input.shape());
        let chunks = members.longest.div_ceil(CHUNK).max(1);
        let partials = members.segments * chunks;
        let candidate = |group: u32| {
            let params = Params {
                member_counts: members.member_counts,
                member_strides: members.member_strides,
                segment_counts: members.segment_counts,
                segment_strides: members.segment_strides,
                chunk: CHUNK as u32,
                chunks: chunks as u32,
                partials: partials as u32,
                unused_0: 0,
            };
            let program =
                Program::new(&program::SUM).constant("GROUP_X", group).constant("CONTIGUOUS", members.contiguous);
            let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Scratch(0))];
            let sums = Dispatch::new(program, &params, Params::FIELDS, bindings, partials, caps)
                .operations(members.segments * members.longest);
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
