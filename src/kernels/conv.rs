//! Candidates of `ops::Conv`: `shaders/conv.wgsl`, `shaders/conv_grouped.wgsl`, `shaders/depthwise.wgsl`, and the matmul
//! loops where every output pixel reads one input pixel. The meaning is `reference/conv.rs`.

use super::dispatch::{Binding, Candidate, Constant, Dispatch, Limits, Resource, parameters};
use super::matmul::{Product, has_zero_point, int8_flip, int8_shift, pack_columns, product_candidates};
use super::program::{self, Part, Program};
use super::{byte_mask, stage};
use crate::ops::{Conv, Sizes};

parameters! {
    /// `shaders/params/conv.wgsl`.
    struct Params {
        in_size: [u32; 4],
        out_size: [u32; 4],
        kernel: [u32; 4],
        stride: [u32; 4],
        dilation: [u32; 4],
        pad: [u32; 4],
        tail: [u32; 4],
        n: u32,
        pixels: u32,
        pixel_words: u32,
        group_channels: u32,
        group_outputs: u32,
        weight_stride: u32,
        output_quads: u32,
        output_words: u32,
        row_stride: u32,
        column_stride: u32,
        tiles: u32,
        tiles_n: u32,
        zero_point: i32,
        low: u32,
        high: u32,
        unused: u32,
    }
}

/// A loop with its cut: invocations per workgroup along channels and pixels, and what each owns.
#[derive(Clone, Copy)]
struct Kernel {
    name: &'static str,
    part: &'static Part,
    weights: Constant,
    group: [u32; 2],
    pixels: u32,
    quads: u32,
}

const fn direct(group: [u32; 2], pixels: u32, quads: u32) -> Kernel {
    Kernel { name: "conv", part: &program::CONV, weights: Constant::Weights, group, pixels, quads }
}

const fn grouped(group: [u32; 2]) -> Kernel {
    let weights = Constant::GroupedWeights;
    Kernel { name: "grouped conv", part: &program::CONV_GROUPED, weights, group, pixels: 1, quads: 1 }
}

const fn depthwise(group: [u32; 2], pixels: u32) -> Kernel {
    let weights = Constant::DepthwiseWeights;
    Kernel { name: "depthwise conv", part: &program::DEPTHWISE, weights, group, pixels, quads: 1 }
}

pub(super) fn candidates(op: &Conv, limits: &Limits) -> Vec<Candidate> {
    let (channels, outputs) = (op.channels_per_group(), op.outputs_per_group());
    let mut kernels = Vec::new();
    if channels == 1 && op.groups() > 1 {
        kernels.extend([depthwise([8, 8], 4), depthwise([16, 4], 1)]);
    }
    if op.groups() == 1 || (channels.is_multiple_of(16) && outputs.is_multiple_of(8)) {
        kernels.extend([direct([8, 4], 8, 2), direct([8, 8], 4, 2), direct([8, 8], 2, 1)]);
    } else if channels.is_multiple_of(16) && outputs.is_multiple_of(4) {
        kernels.extend([direct([8, 8], 4, 1), direct([8, 8], 2, 1)]);
    }
    kernels.extend([grouped([8, 8]), grouped([32, 1])]);
    let fits = |kernel: &Kernel| kernel.group[0] * kernel.group[1] <= limits.invocations;
    let mut legal: Vec<Kernel> = kernels.into_iter().filter(fits).collect();
    if legal.is_empty() {
        legal.push(grouped([1, 1]));
    }
    let mut candidates =
        if op.window().is_pointwise() && op.groups() == 1 { pointwise(op, limits) } else { Vec::new() };
    candidates.extend(legal.into_iter().map(|kernel| Candidate {
        label: format!(
            "{} {}x{} tiles, {}x{} groups",
            kernel.name,
            kernel.pixels,
            kernel.quads * 4,
            kernel.group[0],
            kernel.group[1]
        ),
        dispatches: launch(op, kernel, limits).into_iter().collect(),
        constants: vec![Constant::Rows, Constant::Stage, kernel.weights, Constant::WeightColumns],
        scratch: if op.window().input_pixels() == 0 { vec![stage::row_words(op.lhs()) as usize] } else { Vec::new() },
    }));
    candidates
}

fn weights_have_zero_point(op: &Conv) -> bool {
    has_zero_point(op.weights().format(), |output| op.weight_zero_point(output), op.weights().shape()[0])
}

fn rows(op: &Conv) -> Resource {
    if op.is_dynamic() { Resource::Input(1) } else { Resource::Constant(0) }
}

/// A convolution of single pixels as a matmul: pixels are rows.
fn pointwise(op: &Conv, limits: &Limits) -> Vec<Candidate> {
    let sizes =
        Sizes { m: op.batch() * op.window().output_pixels(), n: op.weights().shape()[0], k: op.channels_per_group() };
    let product = Product {
        sizes,
        batches: 1,
        lhs: op.lhs(),
        lhs_rows_differ: false,
        weights_have_zero_point: weights_have_zero_point(op),
        output: op.output(),
        output_type: op.output_type(),
        stage: op.stage(),
        resources: [
            Resource::Input(0),
            Resource::Constant(2),
            rows(op),
            Resource::Constant(3),
            Resource::Constant(1),
            Resource::Constant(4),
        ],
    };
    let constants = [Constant::Rows, Constant::Stage, Constant::Weights, Constant::WeightColumns, Constant::Batches];
    product_candidates(&product, "pointwise", &constants, limits)
}

fn launch(op: &Conv, kernel: Kernel, limits: &Limits) -> Option<Dispatch> {
    let window = op.window();
    let (outputs, channels) = (op.weights().shape()[0], op.channels_per_group());
    let pixels = op.batch() * window.output_pixels();
    if pixels == 0 || outputs == 0 {
        return None;
    }
    let stage = stage::parameters(op.output(), op.output_type());
    let tiles_n = (stage.output_quads as usize).div_ceil((kernel.group[0] * kernel.quads) as usize);
    let tiles = tiles_n * pixels.div_ceil((kernel.group[1] * kernel.pixels) as usize);
    let axes = |sizes: [usize; 3]| [sizes[0] as u32, sizes[1] as u32, sizes[2] as u32, 0];
    // The loop over words ends with this mask: a vec4 in the direct loop, one word in the grouped one.
    let lanes = if kernel.weights == Constant::GroupedWeights { 4 } else { 16 };
    let params = Params {
        in_size: axes(window.input),
        out_size: axes(window.output),
        kernel: axes(window.kernel),
        stride: axes(window.stride),
        dilation: axes(window.dilation),
        pad: axes(window.begin),
        tail: byte_mask(if channels % lanes == 0 { lanes } else { channels % lanes }),
        n: outputs as u32,
        pixels: pixels as u32,
        pixel_words: stage::row_words(op.lhs()),
        group_channels: channels as u32,
        group_outputs: op.outputs_per_group() as u32,
        weight_stride: match kernel.weights {
            Constant::DepthwiseWeights => outputs.div_ceil(4) as u32,
            _ => op.outputs_per_group().next_multiple_of(4) as u32,
        },
        output_quads: stage.output_quads,
        output_words: stage.output_words,
        tiles: tiles as u32,
        tiles_n: tiles_n as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        ..Params::default()
    };
    let mut program = stage::link(Program::new(kernel.part), op.output(), op.stage())
        .constant("GROUP_X", kernel.group[0])
        .constant("GROUP_Y", kernel.group[1])
        .constant("LHS_FLIP", int8_flip(op.lhs().format()))
        .constant("LHS_SHIFT", int8_shift(op.lhs().format()))
        .constant("WEIGHT_ZERO_POINT", weights_have_zero_point(op));
    program = match kernel.weights {
        Constant::Weights => {
            program.with(&program::WEIGHT_INT8).constant("TILE_M", kernel.pixels).constant("TILE_Q", kernel.quads)
        }
        Constant::DepthwiseWeights => {
            program.constant("TILE_M", kernel.pixels).constant("MULTIPLIER_ONE", op.outputs_per_group() == 1)
        }
        _ => program,
    };
    // Taps in the padding load the first pixel and drop it; an image without pixels lends one for that.
    let image = if window.input_pixels() == 0 { Resource::Scratch(0) } else { Resource::Input(0) };
    let bindings = [
        Binding::read(1, image),
        Binding::read(2, Resource::Constant(2)),
        Binding::read(3, rows(op)),
        Binding::read(4, Resource::Constant(3)),
        Binding::read(5, Resource::Constant(1)),
        Binding::write(6, Resource::Output(0)),
    ];
    Some(Dispatch::new(program, &params, Params::FIELDS, bindings, tiles, limits))
}

pub(super) fn constant(op: &Conv, constant: Constant) -> Option<Vec<u32>> {
    let (outputs, channels, taps) = (op.weights().shape()[0], op.channels_per_group(), op.window().taps());
    let shift = int8_shift(op.weights().format());
    let code = |output, tap, channel| op.weights().code(op.weight_index(output, tap, channel)) - shift;
    let words = match constant {
        Constant::Rows => {
            let (scale, zero_point) = op.lhs_parameters();
            vec![scale.to_bits(), zero_point as u32]
        }
        Constant::Batches => vec![0, 0],
        Constant::Weights => {
            // A matrix per group and tap: its rows are the channels.
            let per_group = op.outputs_per_group();
            pack_columns(op.groups() * taps, per_group, channels, |matrix, channel, column| {
                code(matrix / taps * per_group + column, matrix % taps, channel)
            })
        }
        Constant::GroupedWeights => {
            let group_words = channels.div_ceil(4);
            let mut words = vec![0u32; outputs * taps * group_words];
            for output in 0..outputs {
                for tap in 0..taps {
                    for channel in 0..channels {
                        let byte = u32::from(code(output, tap, channel) as u8);
                        words[(output * taps + tap) * group_words + channel / 4] |= byte << (8 * (channel % 4));
                    }
                }
            }
            words
        }
        Constant::DepthwiseWeights => {
            let quads = outputs.div_ceil(4);
            let mut words = vec![0u32; taps * quads];
            for output in 0..outputs {
                for tap in 0..taps {
                    words[tap * quads + output / 4] |= u32::from(code(output, tap, 0) as u8) << (8 * (output % 4));
                }
            }
            words
        }
        Constant::WeightColumns => {
            let entry = |output| {
                let zero_point = op.weight_zero_point(output) - shift;
                let terms = (0..taps).flat_map(|tap| (0..channels).map(move |channel| (tap, channel)));
                let sum: i32 = terms.fold(0, |sum: i32, (tap, i)| sum.wrapping_add(code(output, tap, i) - zero_point));
                [sum as u32, zero_point as u32]
            };
            (0..outputs).flat_map(entry).collect()
        }
        Constant::Stage => stage::words(op.stage()),
        _ => return None,
    };
    Some(words)
}
