//! Candidates of `ops::FakeQuantize` (`shaders/train/fake_quantize.wgsl`), `ops::FakeQuantizeGradient`
//! (`shaders/train/fake_gradient.wgsl`) and `ops::GridGradient` (`shaders/train/fake_sum.wgsl`, `shaders/train/sum_partials.wgsl`),
//! each linked with `shaders/train/grid_*.wgsl`. The meaning is `reference/fake_quantize.rs`.

use crate::kernels::calibrate::members::{MemberParams, Members};
use crate::kernels::convert::granularity;
use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, line_groups, parameters,
};
use crate::ops::{FakeQuantize, FakeQuantizeGradient, Grid, GridGradient, PostOp};

parameters! {
    /// `shaders/train/fake_quantize.wgsl` and `shaders/train/fake_gradient.wgsl`.
    struct Params {
        index_sizes: [u32; 4],
        index_strides: [u32; 4],
        n: u32,
        elements: u32,
        low: i32,
        high: i32,
    }
}

parameters! {
    /// `shaders/train/sum_partials.wgsl`.
    struct TotalParams {
        scale: [f32; 4],
        chunks: u32,
        segments: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// Number of members that one workgroup sums.
const CHUNK: usize = 8192;

fn link_grid(main: &'static Part, op: &FakeQuantize) -> Program {
    let part = match op.grid {
        Grid::Affine => &program::GRID_AFFINE,
        Grid::Step => &program::GRID_STEP,
        Grid::Range => &program::GRID_RANGE,
    };
    let program = Program::new(main).with(part);
    if op.grid == Grid::Range { program } else { program.constant("LEVELS", op.levels) }
}

fn by_element(
    name: &str,
    main: &'static Part,
    op: &FakeQuantize,
    bindings: &[Binding],
    caps: &DeviceCaps,
) -> Vec<Candidate> {
    let shape = op.input.shape();
    let (index_sizes, index_strides) = granularity::strides(op.granularity, shape);
    let params = Params {
        index_sizes,
        index_strides,
        n: shape.row_length() as u32,
        elements: shape.elements() as u32,
        low: op.low,
        high: op.high,
    };
    line_candidates(name, shape.elements(), &[], caps, |group, groups| {
        let program = link_grid(main, op).constant("GROUP_X", group);
        Dispatch::new(program, &params, Params::FIELDS, bindings.to_vec(), groups, caps).operations([shape.elements()])
    })
}

impl Kernels for FakeQuantize {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let bindings = [
            Binding::read(1, Resource::Input(0)),
            Binding::read(3, Resource::Input(1)),
            Binding::write(6, Resource::Output(0)),
        ];
        by_element("fake quantize", &program::FAKE_QUANTIZE, self, &bindings, caps)
    }
}

impl Kernels for FakeQuantizeGradient {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let bindings = [
            Binding::read(1, Resource::Input(0)),
            Binding::read(2, Resource::Input(2)),
            Binding::read(3, Resource::Input(1)),
            Binding::write(6, Resource::Output(0)),
        ];
        by_element("fake quantize gradient", &program::FAKE_GRADIENT, &self.forward, &bindings, caps)
    }
}

impl Kernels for GridGradient {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let forward = &self.forward;
        let members = Members::new(forward.granularity, forward.input.shape());
        let chunks = members.longest.div_ceil(CHUNK).max(1);
        let partials = members.segments * chunks;
        let candidate = |group: u32| {
            let params = MemberParams { low: forward.low, high: forward.high, ..members.parameters(CHUNK, chunks) };
            let program = link_grid(&program::FAKE_SUM, forward)
                .constant("GROUP_X", group)
                .constant("CONTIGUOUS", members.contiguous);
            let bindings = [
                Binding::read(1, Resource::Input(0)),
                Binding::read(2, Resource::Input(2)),
                Binding::read(3, Resource::Input(1)),
                Binding::write(6, Resource::Scratch(0)),
            ];
            let sum = Dispatch::new(program, &params, MemberParams::FIELDS, bindings, partials, caps).operations([
                2,
                members.segments,
                members.longest,
            ]);
            let width = if forward.grid == Grid::Range { 2 } else { 1 };
            let total = total(chunks, members.segments, width, self.gradient_scale, group, caps);
            Candidate {
                label: format!("grid gradient, groups of {group}"),
                dispatches: if members.segments == 0 { Vec::new() } else { vec![sum, total] },
                constants: Vec::new(),
                scratch: vec![partials * 2],
            }
        };
        line_groups(caps).map(candidate).collect()
    }
}

/// The launch that adds the partial sums in scratch buffer 0.
pub(crate) fn total(chunks: usize, segments: usize, width: u32, scale: f32, group: u32, caps: &DeviceCaps) -> Dispatch {
    let params =
        TotalParams { scale: [scale; 4], chunks: chunks as u32, segments: segments as u32, ..TotalParams::default() };
    let program = Program::new(&program::SUM_PARTIALS).constant("GROUP_X", group).constant("WIDTH", width);
    let bindings = [Binding::read(1, Resource::Scratch(0)), Binding::write(6, Resource::Output(0))];
    Dispatch::new(program, &params, TotalParams::FIELDS, bindings, segments.div_ceil(group as usize), caps)
}
