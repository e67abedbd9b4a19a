//! Candidates of `ops::FloatConv`: `shaders/train/float_conv.wgsl`, `shaders/train/float_conv_image.wgsl`, or
//! `shaders/train/float_conv_weights.wgsl` with `shaders/train/float_conv_total.wgsl`. The meaning is `reference/float_conv.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, line_groups, parameters};
use crate::ops::{ConvPass, FloatConv, PostOp, four};
use crate::tensor::TensorType;

parameters! {
    /// `shaders/train/float_conv_params.wgsl`.
    struct Params {
        image: [u32; 4],
        weights: [u32; 4],
        output: [u32; 4],
        windows: [u32; 4],
        groups: u32,
        outputs_per_group: u32,
        blocks: u32,
        count: u32,
        slices: u32,
        slice: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

parameters! {
    /// `shaders/train/float_conv_total.wgsl`.
    struct TotalParams {
        slices: u32,
        count: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// The number of invocations below which the gradient of the weights is cut into slices. It does not depend on the device, so that
/// all devices sum in the same order.
const BUSY: usize = 512;

impl Kernels for FloatConv {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        // The largest block of channels or outputs that divides a group.
        let [outputs, _, _, per_group] = four(&self.weights);
        let outputs_per_group = outputs / self.windows.groups;
        let inner = if self.pass == ConvPass::Forward { outputs_per_group } else { per_group };
        let most = |n: usize| if n.is_multiple_of(4) { 4 } else { 1 };
        let mut tiles = vec![(4, most(inner))];
        if most(inner) > 1 {
            tiles.push((1, 1));
        }
        let sizes = move |group: u32| tiles.clone().into_iter().map(move |(pixels, block)| (group, pixels, block));
        line_groups(caps).flat_map(sizes).map(|sizes| candidate(self, sizes, outputs_per_group, caps)).collect()
    }
}

fn candidate(
    op: &FloatConv,
    (group, pixels, block): (u32, usize, usize),
    outputs_per_group: usize,
    caps: &DeviceCaps,
) -> Candidate {
    let words = |of: &TensorType| four(of).map(|n| n as u32);
    let (image, weights, output) = (four(&op.image), four(&op.weights), four(&op.output));
    let [top, left, ..] = op.windows.padding;
    let params = Params {
        image: words(&op.image),
        weights: words(&op.weights),
        output: words(&op.output),
        windows: [op.windows.stride[0], op.windows.stride[1], top, left].map(|n| n as u32),
        groups: op.windows.groups as u32,
        outputs_per_group: outputs_per_group as u32,
        ..Params::default()
    };
    let operations = [2, op.output.shape().elements(), weights[1], weights[2], weights[3]];
    let launch = |main, params: &Params, b: [Binding; 3], constants: &[(&'static str, usize)]| {
        let program =
            constants.iter().fold(Program::new(main).constant("GROUP_X", group), |program, &(name, value)| {
                program.constant(name, value as u32)
            });
        let groups = (params.count as usize).div_ceil(group as usize);
        Dispatch::new(program, params, Params::FIELDS, b, groups, caps).operations(operations)
    };
    let read = |slot, input| Binding::read(slot, Resource::Input(input));
    let (name, dispatches, scratch) = match op.pass {
        ConvPass::Forward | ConvPass::ImageGradient => {
            let forward = op.pass == ConvPass::Forward;
            let [rows, columns] = if forward {
                [output[..3].iter().product(), output[3]]
            } else {
                [image[..3].iter().product(), image[3]]
            };
            let blocks = columns / block;
            let count = rows.div_ceil(pixels) * blocks;
            let params = Params { blocks: blocks as u32, count: count as u32, ..params };
            let main = if forward { &program::FLOAT_CONV } else { &program::FLOAT_CONV_IMAGE };
            let bindings = [read(1, 0), read(2, 1), Binding::write(6, Resource::Output(0))];
            let launch = launch(main, &params, bindings, &[("PIXELS", pixels), ("BLOCK", block)]);
            let name = if forward { "float conv" } else { "float conv, image gradient" };
            (name, if count == 0 { vec![] } else { vec![launch] }, vec![])
        }
        ConvPass::WeightGradient => {
            let elements = op.weights.shape().elements();
            // As many outputs as the other passes have pixels in a tile.
            let band = if block > 1 && outputs_per_group.is_multiple_of(pixels) { pixels } else { 1 };
            let tiles = elements / block / band;
            let rows = op.terms();
            let slices = BUSY.div_ceil(tiles.max(1)).clamp(1, rows.div_ceil(64).max(1)).max(rows.div_ceil(16_384));
            let slice = rows.div_ceil(slices).max(1);
            let params = Params {
                blocks: (weights[3] / block) as u32,
                count: (tiles * slices) as u32,
                slices: slices as u32,
                slice: slice as u32,
                ..params
            };
            let bindings = [read(1, 0), read(2, 1), Binding::write(6, Resource::Scratch(0))];
            let sums = launch(&program::FLOAT_CONV_WEIGHTS, &params, bindings, &[("OUTPUTS", band), ("BLOCK", block)]);
            let total = TotalParams { slices: slices as u32, count: elements as u32, ..TotalParams::default() };
            let bindings = [Binding::read(1, Resource::Scratch(0)), read(2, 2), Binding::write(6, Resource::Output(0))];
            let program = Program::new(&program::FLOAT_CONV_TOTAL).constant("GROUP_X", group);
            let groups = elements.div_ceil(group as usize);
            let total = Dispatch::new(program, &total, TotalParams::FIELDS, bindings, groups, caps);
            let launches = if elements == 0 { vec![] } else { vec![sums, total] };
            ("float conv, weight gradient", launches, vec![elements * slices])
        }
    };
    Candidate {
        label: format!("{name}, tiles of {pixels} x {block}, groups of {group}"),
        dispatches,
        constants: Vec::new(),
        scratch,
    }
}
