//! Candidates of `ops::Conv`: `shaders/conv.wgsl`, `shaders/conv_grouped.wgsl`, `shaders/depthwise.wgsl`, and the matmul
//! loops where every output pixel reads one input pixel. The meaning is `reference/conv.rs`.

use super::byte_mask;
use super::dispatch::{Binding, Candidate, Constant, Dispatch, Limits, Resource, parameters};
use super::matmul::{
    Product, bind_tables, columns_within, has_zero_point, int8_flip, int8_shift, pack_columns, product_candidates,
    weight_part,
};
use super::program::{self, Part, Program};
use super::stage::{self, Epilogue};
use crate::ops::{Conv, Finish, Sizes};

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
        first_column: u32,
        pixels: u32,
        pixel_words: u32,
        group_channels: u32,
        group_outputs: u32,
        weight_stride: u32,
        columns_at: u32,
        rows_at: u32,
        output_quads: u32,
        output_words: u32,
        row_stride: u32,
        column_stride: u32,
        tiles: u32,
        tiles_n: u32,
        zero_point: i32,
        low: u32,
        high: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// A loop with its cut: invocations per workgroup along channels and pixels, and what each owns.
#[derive(Clone, Copy)]
struct Kernel {
    name: &'static str,
    part: &'static Part,
    layout: Layout,
    group: [u32; 2],
    pixels: u32,
    quads: u32,
}

/// The order of the weights that a loop reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Vecs,
    Grouped,
    Depthwise,
}

const fn direct(group: [u32; 2], pixels: u32, quads: u32) -> Kernel {
    Kernel { name: "conv", part: &program::CONV, layout: Layout::Vecs, group, pixels, quads }
}

const fn grouped(group: [u32; 2]) -> Kernel {
    let layout = Layout::Grouped;
    Kernel { name: "grouped conv", part: &program::CONV_GROUPED, layout, group, pixels: 1, quads: 1 }
}

const fn depthwise(group: [u32; 2], pixels: u32) -> Kernel {
    let layout = Layout::Depthwise;
    Kernel { name: "depthwise conv", part: &program::DEPTHWISE, layout, group, pixels, quads: 1 }
}

pub(super) fn candidates(op: &Conv, finish: Option<&Finish>, limits: &Limits) -> Vec<Candidate> {
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
    // Weights that can't be divided must fit a binding, if those of any kernel do.
    let binds =
        |kernel: &Kernel| weight_bytes(op, *kernel, columns_per_launch(op, *kernel, limits)) <= limits.binding_bytes;
    if legal.iter().any(binds) {
        legal.retain(binds);
    }
    let mut candidates =
        if op.window().is_pointwise() && op.groups() == 1 { pointwise(op, finish, limits) } else { Vec::new() };
    candidates.extend(legal.into_iter().map(|kernel| candidate(op, finish, kernel, limits)));
    candidates
}

fn epilogue<'a>(op: &'a Conv, finish: Option<&'a Finish>) -> Epilogue<'a> {
    Epilogue { output: op.output(), output_type: op.output_type(), stage: op.stage(), finish }
}

fn weights_have_zero_point(op: &Conv) -> bool {
    has_zero_point(op.weights().format(), |output| op.weight_zero_point(output), op.weights().shape()[0])
}

/// A convolution of single pixels as a matmul: pixels are rows.
fn pointwise(op: &Conv, finish: Option<&Finish>, limits: &Limits) -> Vec<Candidate> {
    let sizes =
        Sizes { m: op.batch() * op.window().output_pixels(), n: op.weights().shape()[0], k: op.channels_per_group() };
    let product = Product {
        sizes,
        batches: 1,
        lhs: op.lhs(),
        lhs_rows: 1,
        dynamic: op.is_dynamic().then_some(1),
        matrices: 1,
        pack: None,
        weight_bits: op.weights().format().bits(),
        weights_have_zero_point: weights_have_zero_point(op),
        epilogue: epilogue(op, finish),
        inputs: 1 + usize::from(op.is_dynamic()),
    };
    product_candidates(&product, "pointwise", limits)
}

fn candidate(op: &Conv, finish: Option<&Finish>, kernel: Kernel, limits: &Limits) -> Candidate {
    let [x, y] = kernel.group;
    let mut candidate = Candidate {
        label: format!("{} {}x{} tiles, {x}x{y} groups", kernel.name, kernel.pixels, kernel.quads * 4),
        dispatches: Vec::new(),
        constants: Vec::new(),
        scratch: Vec::new(),
    };
    let window = op.window();
    let (outputs, epilogue) = (op.weights().shape()[0], epilogue(op, finish));
    if op.batch() * window.output_pixels() == 0 || outputs == 0 {
        return candidate;
    }
    candidate.constants.push(Constant::Tables);
    // Taps in the padding load the first pixel and drop it; an image without pixels lends one for that.
    let mut image = Resource::Input(0);
    if window.input_pixels() == 0 {
        image = Resource::Scratch(0);
        candidate.scratch.push(stage::row_words(op.lhs()) as usize);
    }
    let rows = op.is_dynamic().then_some(Resource::Input(1));
    let (tables, rows) = bind_tables(&mut candidate, epilogue.rows_at() + 1, rows, 1, limits);
    let columns = columns_per_launch(op, kernel, limits);
    for first in (0..outputs).step_by(columns) {
        let columns = columns.min(outputs - first);
        candidate.constants.push(match kernel.layout {
            Layout::Vecs => Constant::Weights { first, columns },
            Layout::Grouped => Constant::GroupedWeights,
            Layout::Depthwise => Constant::DepthwiseWeights,
        });
        let weights = Resource::Constant(candidate.constants.len() - 1);
        let bindings = [
            Some(Binding::read(1, image)),
            Some(Binding::read(2, weights)),
            rows.map(|rows| Binding::read(3, rows)),
            Some(Binding::read(5, tables)),
            Some(Binding::write(6, Resource::Output(0))),
        ];
        let launch = launch(op, &epilogue, kernel, [first, columns], bindings.into_iter().flatten(), limits);
        candidate.dispatches.push(stage::bind_finish(launch, finish, 1 + usize::from(op.is_dynamic())));
    }
    candidate
}

/// The output channels that one launch computes: all, unless their weights exceed a binding and can be divided.
fn columns_per_launch(op: &Conv, kernel: Kernel, limits: &Limits) -> usize {
    let outputs = op.weights().shape()[0];
    if kernel.layout != Layout::Vecs || op.groups() > 1 {
        return outputs;
    }
    if weight_bytes(op, kernel, outputs) <= limits.binding_bytes {
        return outputs;
    }
    columns_within(limits, weight_bytes(op, kernel, 4))
}

/// The bytes that the weights of so many output channels take with their table.
fn weight_bytes(op: &Conv, kernel: Kernel, columns: usize) -> u64 {
    (code_bytes(op, kernel, columns) + 8 * columns.next_multiple_of(4)) as u64
}

/// The bytes that they take before it. Loops over words read int8, whatever the format.
fn code_bytes(op: &Conv, kernel: Kernel, columns: usize) -> usize {
    let (channels, taps) = (op.channels_per_group(), op.window().taps());
    let padded = columns.next_multiple_of(4);
    let vec_bytes = channels.div_ceil(16) * 2 * op.weights().format().bits();
    match kernel.layout {
        Layout::Vecs if op.groups() == 1 => taps * vec_bytes * padded,
        Layout::Vecs => op.groups() * taps * vec_bytes * op.outputs_per_group().next_multiple_of(4),
        Layout::Grouped => columns * taps * channels.next_multiple_of(4),
        Layout::Depthwise => taps * padded,
    }
}

fn launch(
    op: &Conv,
    epilogue: &Epilogue<'_>,
    kernel: Kernel,
    [first, columns]: [usize; 2],
    bindings: impl Iterator<Item = Binding>,
    limits: &Limits,
) -> Dispatch {
    let window = op.window();
    let (outputs, channels) = (op.weights().shape()[0], op.channels_per_group());
    let pixels = op.batch() * window.output_pixels();
    let stage = epilogue.parameters();
    let end = first + columns;
    // The last part writes the padding of the pixel too.
    let output_quads = if end == outputs { stage.output_quads } else { end as u32 / 4 } - first as u32 / 4;
    let tiles_n = (output_quads as usize).div_ceil((kernel.group[0] * kernel.quads) as usize);
    let tiles = tiles_n * pixels.div_ceil((kernel.group[1] * kernel.pixels) as usize);
    let axes = |sizes: [usize; 3]| [sizes[0] as u32, sizes[1] as u32, sizes[2] as u32, 0];
    // The loop over words ends with this mask: a vec4 in the direct loop, one word in the grouped one.
    let lanes = if kernel.layout == Layout::Grouped { 4 } else { 16 };
    let weight_stride = match kernel.layout {
        Layout::Depthwise => outputs.div_ceil(4),
        Layout::Vecs if op.groups() == 1 => columns.next_multiple_of(4),
        _ => op.outputs_per_group().next_multiple_of(4),
    };
    // In sixteens of codes where the loop reads those, else in words.
    let bits = op.weights().format().bits();
    let columns_at = code_bytes(op, kernel, columns) / if kernel.layout == Layout::Vecs { 2 * bits } else { 4 };
    let bindings: Vec<Binding> = bindings.collect();
    let has_rows = bindings.iter().any(|binding| binding.slot == 3);
    // Gathered rows follow everything else.
    let gathered = op.is_dynamic() && !has_rows;
    let params = Params {
        in_size: axes(window.input),
        out_size: axes(window.output),
        kernel: axes(window.kernel),
        stride: axes(window.stride),
        dilation: axes(window.dilation),
        pad: axes(window.begin),
        tail: byte_mask(if channels % lanes == 0 { lanes } else { channels % lanes }),
        n: end as u32,
        first_column: first as u32,
        pixels: pixels as u32,
        pixel_words: stage::row_words(op.lhs()),
        group_channels: channels as u32,
        group_outputs: op.outputs_per_group() as u32,
        weight_stride: weight_stride as u32,
        columns_at: columns_at as u32,
        rows_at: (epilogue.rows_at() + usize::from(gathered)) as u32,
        output_quads,
        output_words: stage.output_words,
        tiles: tiles as u32,
        tiles_n: tiles_n as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        ..Params::default()
    };
    let program = Program::new(kernel.part).with(if has_rows { &program::ROWS_INPUT } else { &program::ROWS_TABLE });
    let program = epilogue
        .link(program)
        .constant("GROUP_X", kernel.group[0])
        .constant("GROUP_Y", kernel.group[1])
        .constant("LHS_FLIP", int8_flip(op.lhs().format()))
        .constant("LHS_SHIFT", int8_shift(op.lhs().format()))
        .constant("WEIGHT_ZERO_POINT", weights_have_zero_point(op));
    let program = match kernel.layout {
        Layout::Vecs => {
            program.with(weight_part(bits)).constant("TILE_M", kernel.pixels).constant("TILE_Q", kernel.quads)
        }
        Layout::Depthwise => {
            program.constant("TILE_M", kernel.pixels).constant("MULTIPLIER_ONE", op.outputs_per_group() == 1)
        }
        Layout::Grouped => program,
    };
    Dispatch::new(program, &params, Params::FIELDS, bindings, tiles, limits)
        .operations(2 * pixels * columns * window.taps() * channels)
}

pub(super) fn constant(op: &Conv, finish: Option<&Finish>, constant: Constant) -> Option<Vec<u32>> {
    let (outputs, channels, taps) = (op.weights().shape()[0], op.channels_per_group(), op.window().taps());
    let shift = int8_shift(op.weights().format());
    let code = |output, tap, channel| op.weights().code(op.weight_index(output, tap, channel)) - shift;
    let (first, columns) = match constant {
        Constant::Weights { first, columns } => (first, columns),
        _ => (0, outputs),
    };
    if first + columns > outputs {
        return None;
    }
    let mut words = match constant {
        Constant::Tables => {
            let mut words = epilogue(op, finish).tables();
            if !op.is_dynamic() {
                let (scale, zero_point) = op.lhs_parameters();
                words.extend([scale.to_bits(), zero_point as u32, 0, 0]);
            }
            // The only batch of a convolution that is a matmul.
            words.extend([0; 4]);
            return Some(words);
        }
        Constant::Weights { .. } => {
            // A matrix per group and tap: its rows are the channels.
            let per_group = if op.groups() == 1 { columns } else { op.outputs_per_group() };
            let bits = op.weights().format().bits();
            pack_columns(bits, op.groups() * taps, per_group, channels, |matrix, channel, column| {
                code(first + matrix / taps * per_group + column, matrix % taps, channel)
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
        _ => return None,
    };
    // Every order ends with the table of columns.
    let entry = |output| {
        let zero_point = op.weight_zero_point(output) - shift;
        let terms = (0..taps).flat_map(|tap| (0..channels).map(move |channel| (tap, channel)));
        let sum: i32 = terms.fold(0, |sum: i32, (tap, i)| sum.wrapping_add(code(output, tap, i) - zero_point));
        [sum as u32, zero_point as u32]
    };
    words.extend((first..first + columns).flat_map(entry));
    words.resize(words.len() + 2 * (columns.next_multiple_of(4) - columns), 0);
    Some(words)
}
