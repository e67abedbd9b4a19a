//! Candidates of `ops::Conv`: `shaders/conv/conv*.wgsl` and `shaders/conv/depthwise*.wgsl`, once per phase of a transposed window
//! (`phase.rs`). The matmul loops compute it if every output pixel reads one input pixel, or after `shaders/conv/unfold.wgsl`. The
//! meaning is `reference/conv.rs`.

use std::sync::Arc;

use super::loops::{ConvKernel, Loop, WeightLayout};
use super::phase::{Phase, phases};
use super::{unfold, weights};
use crate::kernels::epilogue::{self, Epilogue};
use crate::kernels::gemm::bytes::Dot;
use crate::kernels::gemm::int16_planes::{self, Int16Product};
use crate::kernels::gemm::product::{Product, Rhs, bind_tables, has_zero_point};
use crate::kernels::gemm::tiling::{Tile, rows_first};
use crate::kernels::heuristics;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, byte_mask, line_group, parameters,
};
use crate::ops::{Conv, PostOp, Sizes, Unfold};

parameters! {
    /// `shaders/conv/params.wgsl`.
    struct Params {
        in_size: [u32; 4],
        out_size: [u32; 4],
        kernel: [u32; 4],
        stride: [u32; 4],
        dilation: [u32; 4],
        pad: [u32; 4],
        place_first: [u32; 4],
        place_step: [u32; 4],
        place_size: [u32; 4],
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
        rows: u32,
        column_stride: u32,
        tiles: u32,
        tiles_m: u32,
        tiles_n: u32,
        rows_first: u32,
        zero_point: i32,
        low: u32,
        high: u32,
        row_tiles: u32,
        weight_rows: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

impl Kernels for Conv {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let op = Arc::new(self.clone());
        let tables = tables(&op, post_op);
        if let Some(planes) = self.byte_planes() {
            let epilogue = epilogue(self, post_op);
            let whole = Int16Product { lhs: self.lhs(), epilogue, tables, wide: self.is_wide(), rows: 1, inputs: 1 };
            return int16_planes::candidates(planes.map(|plane| plane.candidates(None, caps)), &whole, caps);
        }
        let direct = kernels(self, caps).into_iter();
        let direct = direct
            .map(|kernel| (heuristics::conv_cost(self, kernel, caps), candidate(&op, post_op, kernel, &tables, caps)));
        let window = self.window();
        let products = match window.is_pointwise() {
            _ if self.groups() > 1 => Vec::new(),
            true => pointwise(&op, post_op, tables.clone(), caps),
            false if window.transposed || window.input_pixels() == 0 => Vec::new(),
            false => by_patches(&op, post_op, tables.clone(), caps),
        };
        heuristics::cheapest_first(products.into_iter().chain(direct).collect())
    }
}

/// The loops that can compute an op on a device.
fn kernels(op: &Conv, caps: &DeviceCaps) -> Vec<ConvKernel> {
    let mut kernels = heuristics::conv_kernels(op, caps);
    kernels.retain(|kernel| kernel.tile.is_legal(caps));
    // A device too small for any of them still runs single invocations.
    if kernels.is_empty() {
        kernels.push(ConvKernel::new(Loop::Grouped, Tile::LEAST));
    }
    // Weights that can't be divided must fit a binding. Loops whose weights don't fit are dropped, unless no loop's weights fit.
    let binds = |kernel: &ConvKernel| kernel.of.layout().fits_binding(op, caps);
    if kernels.iter().any(binds) {
        kernels.retain(binds);
    }
    kernels
}

fn epilogue<'a>(op: &'a Conv, post_op: Option<&'a PostOp>) -> Epilogue<'a> {
    Epilogue { output: op.output(), output_type: op.output_type(), stage: op.stage(), post_op }
}

fn weights_have_zero_point(op: &Conv) -> bool {
    has_zero_point(op.weights().tensor_type())
}

/// A 1x1 convolution as a matmul: pixels are rows.
fn pointwise(op: &Arc<Conv>, post_op: Option<&PostOp>, tables: Constant, caps: &DeviceCaps) -> Vec<(f64, Candidate)> {
    let weights = |first, columns| WeightLayout::Vecs.constant(op, 0, first, columns);
    let product = product(op, post_op, tables, &weights);
    let candidates = product.candidates("pointwise", caps).into_iter();
    candidates
        .map(|(tile, candidate)| (heuristics::matmul_cost(product.sizes, product.weight_bits, tile, caps), candidate))
        .collect()
}

/// Bytes of patches that are unfolded at a time, at most.
const PATCH_BYTES: usize = 4 << 20;

/// Number of such chunks, at most: 16 GiB of patches.
const MOST_CHUNKS: usize = 1 << 12;

/// A convolution as a matmul of its patches, which are unfolded in bounded memory.
fn by_patches(op: &Arc<Conv>, post_op: Option<&PostOp>, tables: Constant, caps: &DeviceCaps) -> Vec<(f64, Candidate)> {
    let Ok(patches) = Unfold::of_window(op.lhs(), op.window()) else { return Vec::new() };
    let row_bytes = 4 * epilogue::row_words(patches.output_type()) as usize;
    let most = usize::try_from(caps.binding_bytes).unwrap_or(usize::MAX).min(PATCH_BYTES);
    let Some(rows) = most.checked_div(row_bytes).filter(|&rows| rows > 0) else { return Vec::new() };
    if (op.batch() * op.window().output_pixels()).div_ceil(rows) > MOST_CHUNKS {
        return Vec::new();
    }
    let group = line_group(caps);
    let fill = |rows, scratch| unfold::launch(&patches, Resource::Input(0), rows, scratch, group, caps);
    let weights = |first, columns| weights::of_patches(op, first, columns);
    let product = product(op, post_op, tables, &weights);
    let cost = |tile, launches| {
        heuristics::matmul_cost(product.sizes, product.weight_bits, tile, caps)
            + heuristics::unfold_cost(op, product.sizes, launches, caps)
    };
    let candidates = product.chunked_candidates("conv by patches", rows, fill, caps).into_iter();
    candidates.map(|(tile, candidate)| (cost(tile, candidate.dispatches.len()), candidate)).collect()
}

/// The matrix product of a convolution of one group: its rows are pixels, or patches.
fn product<'a>(
    op: &'a Conv,
    post_op: Option<&'a PostOp>,
    tables: Constant,
    weights: &'a dyn Fn(usize, usize) -> Constant,
) -> Product<'a> {
    let (window, n) = (op.window(), op.weights().dims()[0]);
    let sizes = Sizes { m: op.batch() * window.output_pixels(), n, k: window.taps() * op.channels_per_group() };
    Product {
        sizes,
        batches: 1,
        dimensions: Default::default(),
        lhs: op.lhs(),
        lhs_rows: 1,
        dynamic: op.is_dynamic().then_some(1),
        matrices: 1,
        rhs: Rhs::Known(weights),
        weight_bits: op.weights().dtype().bits(),
        weights_have_zero_point: weights_have_zero_point(op),
        epilogue: epilogue(op, post_op),
        tables,
        inputs: 1 + usize::from(op.is_dynamic()),
    }
}

fn candidate(
    op: &Arc<Conv>,
    post_op: Option<&PostOp>,
    kernel: ConvKernel,
    tables: &Constant,
    caps: &DeviceCaps,
) -> Candidate {
    let mut candidate = Candidate::new(kernel.label());
    let window = op.window();
    let (outputs, epilogue) = (op.weights().dims()[0], epilogue(op, post_op));
    if op.batch() * window.output_pixels() == 0 || outputs == 0 {
        return candidate;
    }
    candidate.constants.push(tables.clone());
    // Taps in the padding load the first pixel and drop it. An image without pixels gets a scratch pixel for that.
    let mut image = Resource::Input(0);
    if window.input_pixels() == 0 {
        image = Resource::Scratch(0);
        candidate.scratch.push(epilogue::row_words(op.lhs()) as usize);
    }
    let rows = op.is_dynamic().then_some(Resource::Input(1));
    let (tables, rows) = bind_tables(&mut candidate, epilogue.rows_at(), rows, 1, caps);
    for phase in phases(window) {
        let columns = kernel.of.layout().columns_per_launch(op, phase.taps.len(), caps);
        for first in (0..outputs).step_by(columns) {
            let columns = columns.min(outputs - first);
            let weights = candidate.constant(kernel.of.layout().constant(op, phase.index, first, columns));
            let bindings = [
                Some(Binding::read(1, image)),
                Some(Binding::read(2, weights)),
                rows.map(|rows| Binding::read(3, rows)),
                Some(Binding::read(5, tables)),
                Some(Binding::write(6, Resource::Output(0))),
            ];
            let bindings = bindings.into_iter().flatten();
            let launch = launch(op, &epilogue, kernel, &phase, [first, columns], bindings, caps);
            candidate.dispatches.push(epilogue::bind_post_op(launch, post_op, 1 + usize::from(op.is_dynamic())));
        }
    }
    candidate
}

fn launch(
    op: &Conv,
    epilogue: &Epilogue<'_>,
    kernel: ConvKernel,
    phase: &Phase,
    [first, columns]: [usize; 2],
    bindings: impl Iterator<Item = Binding>,
    caps: &DeviceCaps,
) -> Dispatch {
    let window = op.window();
    let (outputs, channels) = (op.weights().dims()[0], op.channels_per_group());
    let pixels = op.batch() * phase.pixels();
    let stage = epilogue.parameters();
    let end = first + columns;
    // The last launch also writes the padding of the pixel.
    let output_quads = if end == outputs { stage.output_quads } else { end as u32 / 4 } - first as u32 / 4;
    let (tile, layout) = (kernel.tile, kernel.of.layout());
    let tiles_n = (output_quads as usize).div_ceil((tile.group[0] * tile.quads) as usize);
    let row_tiles = phase.output[2].div_ceil(tile.rows as usize);
    let pixel_tiles = match kernel.of {
        Loop::DepthwiseRow => pixels / phase.output[2] * row_tiles,
        Loop::Vecs | Loop::Words | Loop::Grouped | Loop::Depthwise => pixels.div_ceil(tile.rows as usize),
    };
    let tiles_m = pixel_tiles.div_ceil(tile.group[1] as usize);
    let tiles = tiles_m * tiles_n;
    let axes = |sizes: [usize; 3]| [sizes[0] as u32, sizes[1] as u32, sizes[2] as u32, 0];
    // The last step over the channels of a tap is masked by it: for a vec4, or for one word.
    let lanes = kernel.of.codes_per_step();
    let weight_bytes = layout.bytes(op, phase.taps.len(), columns);
    let bindings: Vec<Binding> = bindings.collect();
    let has_rows = bindings.iter().any(|binding| binding.slot == 3);
    let params = Params {
        in_size: axes(window.input),
        out_size: axes(phase.output),
        kernel: axes(phase.kernel),
        stride: axes(phase.stride),
        dilation: axes(phase.dilation),
        pad: [phase.pad[0] as u32, phase.pad[1] as u32, phase.pad[2] as u32, 0],
        place_first: axes(phase.first),
        place_step: axes(phase.step),
        place_size: axes(window.output),
        tail: byte_mask(if channels % lanes == 0 { lanes } else { channels % lanes }),
        n: end as u32,
        first_column: first as u32,
        pixels: pixels as u32,
        pixel_words: epilogue::row_words(op.lhs()),
        group_channels: channels as u32,
        group_outputs: op.outputs_per_group() as u32,
        weight_stride: layout.stride(op, columns) as u32,
        columns_at: (weight_bytes / layout.unit(op)) as u32,
        rows_at: epilogue.rows_at() as u32,
        rows: 1,
        output_quads,
        output_words: stage.output_words,
        tiles: tiles as u32,
        tiles_m: tiles_m as u32,
        tiles_n: tiles_n as u32,
        rows_first: rows_first(weight_bytes),
        row_tiles: row_tiles as u32,
        weight_rows: (op.groups() * phase.taps.len() * channels.div_ceil(16)) as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        ..Params::default()
    };
    let program = Program::new(kernel.part())
        .with(if has_rows { &program::ROW_PARAMETERS_INPUT } else { &program::ROW_PARAMETERS_TABLE })
        .constant("TRANSPOSED", window.transposed);
    let dot = Dot::of(caps.emulate_dot4 && !kernel.is_through_workgroup_memory());
    let program = epilogue
        .link(dot.link_lhs(program, op.lhs().dtype()))
        .constant("GROUP_X", tile.group[0])
        .constant("GROUP_Y", tile.group[1])
        .constant("WEIGHT_ZERO_POINT", weights_have_zero_point(op));
    let program = kernel.link(program, op);
    Dispatch::new(program, &params, Params::FIELDS, bindings, tiles, caps).operations([
        2,
        pixels,
        columns,
        phase.taps.len(),
        channels,
    ])
}

/// The tables of the epilogue, then scale and zero point of the image if they are constants.
fn tables(op: &Arc<Conv>, post_op: Option<&PostOp>) -> Constant {
    let count = 4 * (epilogue(op, post_op).rows_at() + usize::from(!op.is_dynamic()));
    let (op, post_op) = (op.clone(), post_op.cloned());
    Constant::new("tables", count, move || {
        let mut words = epilogue(&op, post_op.as_ref()).tables();
        if !op.is_dynamic() {
            let (scale, zero_point) = op.lhs_parameters();
            words.extend([scale.to_bits(), zero_point as u32, 0, 0]);
        }
        words
    })
}
