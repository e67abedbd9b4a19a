//! Candidates of `ops::ObserveRange` (`shaders/calibrate/observe_range.wgsl`, `shaders/calibrate/observe_fold.wgsl`) and
//! `ops::ObserveHistogram` (`shaders/calibrate/observe_range.wgsl`, `shaders/calibrate/observe_level.wgsl`,
//! `shaders/calibrate/observe_count.wgsl`, `shaders/calibrate/observe_rebin.wgsl`). The meaning is `reference/observe.rs`.

use super::members::{MemberParams, Members};
use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_groups, parameters};
use crate::ops::{ObserveHistogram, ObserveRange, PostOp, RangeUpdate};

parameters! {
    /// `shaders/calibrate/observe_fold.wgsl`.
    struct FoldParams {
        chunks: u32,
        segments: u32,
        constant: u32,
        unused_0: u32,
    }
}

parameters! {
    /// `shaders/calibrate/observe_level.wgsl`.
    struct LevelParams {
        chunks: u32,
        segments: u32,
        width: u32,
        least_level: i32,
        words: u32,
        bins: u32,
        start: i32,
        unused_0: u32,
    }
}

parameters! {
    /// `shaders/calibrate/observe_rebin.wgsl`.
    struct RebinParams {
        bins: u32,
        pairs: u32,
        count: u32,
        unused_0: u32,
    }
}

/// Number of members that one workgroup reads.
const CHUNK: usize = 8192;

/// The first launch of both ops: the range of each chunk of each segment.
fn partial(members: &Members, chunks: usize, group: u32, caps: &DeviceCaps) -> Dispatch {
    let partials = members.segments * chunks;
    let program =
        Program::new(&program::OBSERVE_RANGE).constant("GROUP_X", group).constant("CONTIGUOUS", members.contiguous);
    let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Scratch(0))];
    Dispatch::new(program, &members.parameters(CHUNK, chunks), MemberParams::FIELDS, bindings, partials, caps)
        .operations([members.segments, members.longest])
}

impl Kernels for ObserveRange {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let members = Members::new(self.granularity(), self.input().shape());
        let chunks = members.longest.div_ceil(CHUNK).max(1);
        let candidate = |group: u32| {
            let constant = match self.rule() {
                RangeUpdate::MinMax => None,
                RangeUpdate::MovingAverage { constant } => Some(constant),
            };
            let params = FoldParams {
                chunks: chunks as u32,
                segments: members.segments as u32,
                constant: constant.unwrap_or(0.0).to_bits(),
                unused_0: 0,
            };
            let program =
                Program::new(&program::OBSERVE_FOLD).constant("GROUP_X", group).constant("MOVING", constant.is_some());
            let bindings = [
                Binding::read(1, Resource::Scratch(0)),
                Binding::read(2, Resource::Input(1)),
                Binding::write(6, Resource::Output(0)),
            ];
            let fold = Dispatch::new(program, &params, FoldParams::FIELDS, bindings, members.segments, caps);
            let launches = vec![partial(&members, chunks, group, caps), fold];
            Candidate {
                label: format!("observe range, groups of {group}"),
                dispatches: if members.segments == 0 { Vec::new() } else { launches },
                constants: Vec::new(),
                scratch: vec![members.segments * chunks * 4],
            }
        };
        line_groups(caps).map(candidate).collect()
    }
}

impl Kernels for ObserveHistogram {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let bins = self.bins();
        let fits = bins.bins() as u32 * 4 + 4096 <= caps.workgroup_bytes;
        let local = fits.then_some(("in workgroup memory", &program::COUNT_LOCAL));
        let ways = local.into_iter().chain([("in memory", &program::COUNT_DIRECT)]);
        ways.flat_map(|way| line_groups(caps).map(move |group| histogram(self, way, group, caps))).collect()
    }
}

fn histogram(op: &ObserveHistogram, way: (&str, &'static Part), group: u32, caps: &DeviceCaps) -> Candidate {
    let (bins, words) = (op.bins(), op.state().dims()[1]);
    let members = Members::new(op.granularity(), op.input().shape());
    let segments = members.segments;
    let power_of_two = bins.width().to_bits().trailing_zeros() >= 23;
    let chunks = members.longest.div_ceil(CHUNK).max(1);
    let exponent = (bins.width().to_bits() >> 23) as i32 - 127;
    let params = LevelParams {
        chunks: chunks as u32,
        segments: segments as u32,
        width: bins.width().to_bits(),
        least_level: bins.least_level,
        words: words as u32,
        bins: bins.bins() as u32,
        // A quotient of at least 2^(log2 (bins / 2) + 1) has no bin.
        start: exponent + (bins.bins() / 2).ilog2() as i32 + 3,
        unused_0: 0,
    };
    let program = |main| Program::new(main).constant("GROUP_X", group);
    let level = Dispatch::new(
        program(&program::OBSERVE_LEVEL).constant("POWER_OF_TWO", power_of_two),
        &params,
        LevelParams::FIELDS,
        [
            Binding::read(1, Resource::Scratch(0)),
            Binding::read(2, Resource::Input(1)),
            Binding::write(6, Resource::Scratch(1)),
            Binding::write(7, Resource::Scratch(2)),
        ],
        segments,
        caps,
    );
    // A workgroup adds its bins to storage memory once per chunk.
    let chunk = CHUNK.max(4 * bins.bins());
    let counted = members.longest.div_ceil(chunk).max(1);
    let params = MemberParams { width: bins.width().to_bits(), ..members.parameters(chunk, counted) };
    let count = Dispatch::new(
        program(&program::OBSERVE_COUNT)
            .with(way.1)
            .constant("POWER_OF_TWO", power_of_two)
            .constant("CONTIGUOUS", members.contiguous)
            .constant("BINS", bins.bins() as u32),
        &params,
        MemberParams::FIELDS,
        [
            Binding::read(1, Resource::Input(0)),
            Binding::read(2, Resource::Scratch(1)),
            Binding::write(6, Resource::Scratch(2)),
        ],
        segments * counted,
        caps,
    )
    .operations([segments, members.longest]);
    let pairs = words / 2;
    let params =
        RebinParams { bins: bins.bins() as u32, pairs: pairs as u32, count: (segments * pairs) as u32, unused_0: 0 };
    let rebin = Dispatch::new(
        program(&program::OBSERVE_REBIN),
        &params,
        RebinParams::FIELDS,
        [
            Binding::read(1, Resource::Input(1)),
            Binding::read(2, Resource::Scratch(1)),
            Binding::read(3, Resource::Scratch(2)),
            Binding::write(6, Resource::Output(0)),
        ],
        (segments * pairs).div_ceil(group as usize),
        caps,
    );
    let launches = vec![partial(&members, chunks, group, caps), level, count, rebin];
    Candidate {
        label: format!("observe histogram, counted {}, groups of {group}", way.0),
        dispatches: if segments == 0 { Vec::new() } else { launches },
        constants: Vec::new(),
        scratch: vec![segments * chunks * 4, segments * ObserveHistogram::HEADER, segments * bins.bins()],
    }
}
