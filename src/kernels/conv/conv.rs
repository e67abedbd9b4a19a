//! Candidates of `ops::Conv`: `shaders/conv/conv*.wgsl` and `shaders/conv/depthwise*.wgsl`, once per phase of a transposed window
//! (`phase.rs`). The matmul loops compute it if every output pixel reads one input pixel, or after `shaders/conv/unfold.wgsl`. The
//! meaning is `reference/conv.rs`.

use std::sync::Arc;

use super::phase::{Phase, phase, phases};
use super::unfold;
use crate::kernels::epilogue::{self, Epilogue};
use crate::kernels::gemm::bytes::{Dot, int8_shift};
use crate::kernels::gemm::heuristics::{Tiles, cheapest_first, lanes};
use crate::kernels::gemm::int16_planes::{self, Int16Product};
use crate::kernels::gemm::matmul::{
    Product, Rhs, bind_tables, chunked_candidates, columns_within, costed_candidates, has_zero_point, pack_columns,
    packed_words, weight_part,
};
use crate::kernels::gemm::tiling::{Staging, rows_first};
use crate::kernels::launch::program::{self, Part, Program};
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

/// A loop and its tile: invocations of a workgroup along channels and pixels, and pixels and quads of an invocation.
#[derive(Clone, Copy)]
struct Kernel {
    name: &'static str,
    part: &'static Part,
    layout: Layout,
    group: [u32; 2],
    pixels: u32,
    quads: u32,
    kind: Kind,
}

/// The order of the weights that a loop reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Vecs,
    Words,
    Grouped,
    Depthwise,
}

/// The memory that a loop reads, and the form of its tiles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each invocation reads storage itself.
    Plain,
    /// A workgroup is one subgroup; its invocations broadcast the pixels that they share.
    Shared,
    /// Operands are staged in workgroup memory.
    Staged(Staging),
    /// A tile is neighbouring pixels of an output row.
    Rows,
}

const fn direct(group: [u32; 2], pixels: u32, quads: u32) -> Kernel {
    let (part, layout) = (&program::CONV, Layout::Vecs);
    Kernel { name: "conv", part, layout, group, pixels, quads, kind: Kind::Plain }
}

const fn shared(subgroup: u32, pixels: u32, quads: u32) -> Kernel {
    Kernel { kind: Kind::Shared, ..direct([subgroup, 1], pixels, quads) }
}

const fn words(group: [u32; 2], pixels: u32, quads: u32) -> Kernel {
    let (part, layout) = (&program::CONV_WORDS, Layout::Words);
    Kernel { name: "conv by words", part, layout, group, pixels, quads, kind: Kind::Plain }
}

const fn staged(group: [u32; 2], pixels: u32, quads: u32, staging: Staging) -> Kernel {
    let (part, layout) = (&program::CONV_WORKGROUP, Layout::Vecs);
    Kernel { name: "conv", part, layout, group, pixels, quads, kind: Kind::Staged(staging) }
}

const fn grouped(group: [u32; 2]) -> Kernel {
    let (part, layout) = (&program::CONV_GROUPED, Layout::Grouped);
    Kernel { name: "grouped conv", part, layout, group, pixels: 1, quads: 1, kind: Kind::Plain }
}

const fn depthwise(group: [u32; 2], pixels: u32) -> Kernel {
    let (part, layout) = (&program::DEPTHWISE, Layout::Depthwise);
    Kernel { name: "depthwise conv", part, layout, group, pixels, quads: 1, kind: Kind::Plain }
}

const fn depthwise_row(group: [u32; 2], pixels: u32) -> Kernel {
    let (part, layout) = (&program::DEPTHWISE_ROW, Layout::Depthwise);
    Kernel { name: "depthwise conv along rows", part, layout, group, pixels, quads: 1, kind: Kind::Rows }
}

impl Kernel {
    fn is_legal(&self, caps: &DeviceCaps) -> bool {
        let [x, y] = self.group;
        let vecs = if let Kind::Staged(staging) = self.kind { staging.vecs() } else { 0 };
        let shares = self.kind != Kind::Shared || caps.is_subgroup(x * y);
        shares
            && x * y <= caps.invocations
            && (y * self.pixels + x * self.quads * 4) * vecs * 16 <= caps.workgroup_bytes
    }

    fn label(&self) -> String {
        let [x, y] = self.group;
        let kind = match self.kind {
            Kind::Shared => ", subgroup broadcast".to_string(),
            Kind::Staged(staging) => format!(", {}", staging.label()),
            Kind::Plain | Kind::Rows => String::new(),
        };
        format!("{} {}x{} tiles, {x}x{y} groups{kind}", self.name, self.pixels, self.quads * 4)
    }

    /// Estimated cost of a convolution, in the units of [`Tiles::products`]. The factors are measured: they include finding the
    /// taps, words in place of vec4s, and workgroup memory (benches/NOTES.md).
    fn cost(&self, op: &Conv, caps: &DeviceCaps) -> f64 {
        let (window, channels) = (op.window(), op.channels_per_group());
        let Self { group, pixels: rows, quads, .. } = *self;
        let [taps, columns] = [window.taps(), window.kernel[2]];
        // Tiles along rows don't continue in the next row.
        let pixels = match self.kind {
            Kind::Rows => {
                window.output_pixels() / window.output[2].max(1) * window.output[2].next_multiple_of(rows as usize)
            }
            _ => window.output_pixels(),
        };
        let sizes = [op.batch() * pixels, op.weights().dims()[0]];
        let sharers = if self.kind == Kind::Shared { group[0] } else { 1 };
        let tiles = Tiles { sizes, group, rows, columns: quads * 4, sharers, lanes: lanes(caps) };
        match (self.layout, self.kind) {
            (Layout::Vecs, Kind::Staged(_)) => 4.6 * tiles.products(taps * channels.next_multiple_of(16)),
            (Layout::Vecs, _) => 1.14 * tiles.products(taps * channels.next_multiple_of(16)),
            (Layout::Words, _) => 5.4 * tiles.products(taps * channels.next_multiple_of(4)),
            (Layout::Grouped, _) => 8.0 * tiles.products(taps * channels.next_multiple_of(4)),
            (Layout::Depthwise, kind) => {
                let span = ((rows as usize - 1) * window.stride[2] + columns) as f64;
                let loads = if kind == Kind::Rows { span / (rows as usize * columns) as f64 } else { 1.0 };
                tiles.computed() * taps as f64 * (1.0 + 0.9 * loads + 2.3 / f64::from(rows))
            }
        }
    }
}

/// The taps and the stride along a row, if the loop over rows is compiled for them: those of networks in use.
fn row_window(op: &Conv) -> Option<[u32; 2]> {
    let window = op.window();
    let [taps, stride] = [window.kernel[2], window.stride[2]].map(|size| size as u32);
    let common = matches!(taps, 3 | 5 | 7) && stride <= 2 && window.dilation[2] == 1;
    (common && !window.transposed && op.outputs_per_group() == 1).then_some([taps, stride])
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
        let direct = direct.map(|kernel| (kernel.cost(self, caps), candidate(&op, post_op, kernel, &tables, caps)));
        let window = self.window();
        let products = match window.is_pointwise() {
            _ if self.groups() > 1 => Vec::new(),
            true => pointwise(&op, post_op, tables.clone(), caps),
            false if window.transposed || window.input_pixels() == 0 => Vec::new(),
            false => by_patches(&op, post_op, tables.clone(), caps),
        };
        cheapest_first(products.into_iter().chain(direct).collect())
    }
}

/// The loops that can compute an op on a device.
fn kernels(op: &Conv, caps: &DeviceCaps) -> Vec<Kernel> {
    let (channels, outputs) = (op.channels_per_group(), op.outputs_per_group());
    let mut kernels = Vec::new();
    if channels == 1 && op.groups() > 1 {
        if row_window(op).is_some() {
            kernels.push(depthwise_row([8, 8], 4));
        }
        kernels.extend([depthwise([8, 8], 4), depthwise([16, 4], 1)]);
    }
    // The loops by words skip the padding of the last vec4.
    let by_words = [words([8, 4], 8, 2), words([8, 8], 4, 2)];
    let by_vecs = [
        direct([8, 4], 8, 2),
        direct([8, 8], 4, 2),
        direct([8, 8], 2, 1),
        staged([8, 8], 4, 2, Staging { step: 2, buffers: 2 }),
    ];
    if op.groups() == 1 && channels <= 4 {
        kernels.extend(by_words.into_iter().chain(by_vecs));
    } else if op.groups() == 1 {
        // Invocations that share pixels must own the same group of channels.
        kernels.extend([(16, 1), (8, 2)].map(|(pixels, quads)| shared(caps.uniform_subgroup_size, pixels, quads)));
        kernels.extend(by_vecs);
        kernels.extend(by_words.into_iter().filter(|_| matches!(channels % 16, 1..=12)));
    } else if channels.is_multiple_of(16) && outputs.is_multiple_of(8) {
        kernels.extend([direct([8, 4], 8, 2), direct([8, 8], 4, 2), direct([8, 8], 2, 1)]);
    } else if channels.is_multiple_of(16) && outputs.is_multiple_of(4) {
        kernels.extend([direct([8, 8], 4, 1), direct([8, 8], 2, 1)]);
    }
    kernels.push(grouped([8, 8]));
    if kernels.len() == 1 {
        kernels.push(grouped([32, 1]));
    }
    kernels.retain(|kernel| kernel.is_legal(caps));
    // A device too small for any of them still runs single invocations.
    if kernels.is_empty() {
        kernels.push(grouped([1, 1]));
    }
    // Weights that can't be divided must fit a binding. Loops whose weights don't fit are dropped, unless no loop's weights fit.
    let taps = op.window().taps();
    let binds = |kernel: &Kernel| {
        weight_bytes(op, kernel.layout, taps, columns_per_launch(op, *kernel, taps, caps)) <= caps.binding_bytes
    };
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
    let weights = |first, columns| weights(op, Layout::Vecs, 0, first, columns);
    costed_candidates(&product(op, post_op, tables, &weights), "pointwise", caps)
}

/// Bytes of patches that are unfolded at a time, at most.
const PATCH_BYTES: usize = 4 << 20;

/// Number of such chunks, at most: 16 GiB of patches.
const MOST_CHUNKS: usize = 1 << 12;

/// Cost of a launch in products: 5 us at 10^11 products per second, a rate between those of a CPU and a GPU.
const LAUNCH: f64 = 5e5;

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
    let weights = |first, columns| patch_weights(op, first, columns);
    let product = product(op, post_op, tables, &weights);
    // Cost of unfolding one code, in products.
    let each = if op.channels_per_group().is_multiple_of(4) { 250.0 } else { 290.0 };
    let filling = each * (product.sizes.m * product.sizes.k) as f64;
    let candidates = chunked_candidates(&product, "conv by patches", rows, fill, caps);
    let launches = |candidate: &Candidate| candidate.dispatches.len().saturating_sub(1) as f64 * LAUNCH;
    candidates.into_iter().map(|(cost, candidate)| (cost + filling + launches(&candidate), candidate)).collect()
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
    kernel: Kernel,
    tables: &Constant,
    caps: &DeviceCaps,
) -> Candidate {
    let mut candidate =
        Candidate { label: kernel.label(), dispatches: Vec::new(), constants: Vec::new(), scratch: Vec::new() };
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
        let columns = columns_per_launch(op, kernel, phase.taps.len(), caps);
        for first in (0..outputs).step_by(columns) {
            let columns = columns.min(outputs - first);
            let weights = candidate.constant(weights(op, kernel.layout, phase.index, first, columns));
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

/// The output channels of one launch: all, unless their weights exceed a binding and can be divided.
fn columns_per_launch(op: &Conv, kernel: Kernel, taps: usize, caps: &DeviceCaps) -> usize {
    let outputs = op.weights().dims()[0];
    if !matches!(kernel.layout, Layout::Vecs | Layout::Words) || op.groups() > 1 {
        return outputs;
    }
    // If a pixel of the output exceeds a binding, the launch is refused for any number of channels.
    let refused = u64::from(epilogue::row_words(op.output_type())) * 4 > caps.binding_bytes;
    if refused || weight_bytes(op, kernel.layout, taps, outputs) <= caps.binding_bytes {
        return outputs;
    }
    columns_within(caps, weight_bytes(op, kernel.layout, taps, 4))
}

/// Bytes of the weights of `taps` taps and `columns` output channels, with their table.
fn weight_bytes(op: &Conv, layout: Layout, taps: usize, columns: usize) -> u64 {
    (code_bytes(op, layout, taps, columns) + 8 * columns.next_multiple_of(4)) as u64
}

/// Bytes of these weights without the table. Loops over words read int8, whatever the format.
fn code_bytes(op: &Conv, layout: Layout, taps: usize, columns: usize) -> usize {
    let channels = op.channels_per_group();
    let padded = columns.next_multiple_of(4);
    let vec_bytes = channels.div_ceil(16) * 2 * op.weights().dtype().bits();
    match layout {
        Layout::Vecs if op.groups() == 1 => taps * vec_bytes * padded,
        Layout::Vecs => op.groups() * taps * vec_bytes * op.outputs_per_group().next_multiple_of(4),
        Layout::Words => taps * channels.next_multiple_of(4) * padded,
        Layout::Grouped => columns * taps * channels.next_multiple_of(4),
        Layout::Depthwise => taps * padded,
    }
}

fn launch(
    op: &Conv,
    epilogue: &Epilogue<'_>,
    kernel: Kernel,
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
    let tiles_n = (output_quads as usize).div_ceil((kernel.group[0] * kernel.quads) as usize);
    let row_tiles = phase.output[2].div_ceil(kernel.pixels as usize);
    let pixel_tiles = match kernel.kind {
        Kind::Rows => pixels / phase.output[2] * row_tiles,
        _ => pixels.div_ceil(kernel.pixels as usize),
    };
    let tiles_m = pixel_tiles.div_ceil(kernel.group[1] as usize);
    let tiles = tiles_m * tiles_n;
    let axes = |sizes: [usize; 3]| [sizes[0] as u32, sizes[1] as u32, sizes[2] as u32, 0];
    // The last step over the channels of a tap is masked by it: for a vec4, or for one word.
    let lanes = if kernel.layout == Layout::Vecs { 16 } else { 4 };
    let weight_stride = match kernel.layout {
        Layout::Depthwise => outputs.div_ceil(4),
        Layout::Vecs | Layout::Words if op.groups() == 1 => columns.next_multiple_of(4),
        _ => op.outputs_per_group().next_multiple_of(4),
    };
    // In units of sixteen codes or vec4s if the loop reads those, otherwise in words.
    let bits = op.weights().dtype().bits();
    let unit = match kernel.layout {
        Layout::Vecs => 2 * bits,
        Layout::Words => 16,
        _ => 4,
    };
    let columns_at = code_bytes(op, kernel.layout, phase.taps.len(), columns) / unit;
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
        weight_stride: weight_stride as u32,
        columns_at: columns_at as u32,
        rows_at: epilogue.rows_at() as u32,
        rows: 1,
        output_quads,
        output_words: stage.output_words,
        tiles: tiles as u32,
        tiles_m: tiles_m as u32,
        tiles_n: tiles_n as u32,
        rows_first: rows_first(code_bytes(op, kernel.layout, phase.taps.len(), columns)),
        row_tiles: row_tiles as u32,
        weight_rows: (op.groups() * phase.taps.len() * channels.div_ceil(16)) as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        ..Params::default()
    };
    let program = Program::new(kernel.part)
        .with(if has_rows { &program::ROW_PARAMETERS_INPUT } else { &program::ROW_PARAMETERS_TABLE })
        .constant("TRANSPOSED", window.transposed);
    let dot = Dot::of(caps.emulate_dot4 && !matches!(kernel.kind, Kind::Staged(_)));
    let program = epilogue
        .link(dot.link_lhs(program, op.lhs().dtype()))
        .constant("GROUP_X", kernel.group[0])
        .constant("GROUP_Y", kernel.group[1])
        .constant("WEIGHT_ZERO_POINT", weights_have_zero_point(op));
    let program = match kernel.layout {
        Layout::Vecs => program.with(weight_part(bits)),
        Layout::Depthwise => program.constant("MULTIPLIER_ONE", op.outputs_per_group() == 1),
        Layout::Words | Layout::Grouped => program,
    };
    let program = match kernel.layout {
        Layout::Vecs | Layout::Words => program
            .constant("TILE_M", kernel.pixels)
            .constant("TILE_Q", kernel.quads)
            .constant("LHS_ROWS", false)
            .constant("ROW_ENTRIES", false),
        Layout::Depthwise => program.constant("TILE_M", kernel.pixels),
        Layout::Grouped => program,
    };
    let program = match (kernel.kind, kernel.layout) {
        (Kind::Shared, _) => program.with(&program::ROW_SOURCE_SUBGROUP),
        (Kind::Plain, Layout::Vecs) => program.with(&program::ROW_SOURCE_DIRECT),
        _ => program,
    };
    let program = match (kernel.kind, row_window(op)) {
        (Kind::Staged(staging), _) => staging.link(program),
        (Kind::Rows, Some([taps, stride])) => program.constant("TAPS", taps).constant("STRIDE", stride),
        _ => program,
    };
    Dispatch::new(program, &params, Params::FIELDS, bindings, tiles, caps)
        .operations(2 * pixels * columns * phase.taps.len() * channels)
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

/// The weights of a phase for some output channels, in the order that a loop reads, then their table.
fn weights(op: &Arc<Conv>, layout: Layout, phase_index: usize, first: usize, columns: usize) -> Constant {
    let taps = phase(op.window(), phase_index).taps.len();
    let count = weight_bytes(op, layout, taps, columns) / 4;
    let label = format!("{layout:?} of phase {phase_index}");
    let of = op.clone();
    packed(op, &label, [first, columns], count as usize, move || {
        packed_weights(&of, layout, phase_index, first, columns)
    })
}

/// The weights of some output channels with the taps along k, in the order of `shaders/gemm/weights_*.wgsl`, then their table.
fn patch_weights(op: &Arc<Conv>, first: usize, columns: usize) -> Constant {
    let (channels, bits) = (op.channels_per_group(), op.weights().dtype().bits());
    let k = op.window().taps() * channels;
    let of = op.clone();
    packed(op, "Patches", [first, columns], packed_words(1, columns, k, bits), move || {
        let phase = phase(of.window(), 0);
        let code = |_, k, column| phase_code(&of, &phase, first + column, k / channels, k % channels);
        let mut words = pack_columns(bits, 1, columns, k, code);
        words.extend(column_table(&of, &phase, first, columns));
        words
    })
}

/// A constant that is packed from the weights of an op. Its label holds everything that determines the packing.
fn packed(
    op: &Conv,
    order: &str,
    [first, columns]: [usize; 2],
    count: usize,
    make: impl Fn() -> Vec<u32> + Send + Sync + 'static,
) -> Constant {
    let window = op.window();
    let mut label = format!("conv columns {first}..{} as {order}, {} groups", first + columns, op.groups());
    if window.transposed {
        // These determine the taps of each phase.
        label += &format!(", transposed {:?} {:?} {:?}", window.stride, window.dilation, window.begin);
    }
    Constant::packed(op.weights(), label, count, make)
}

/// The code of a weight of a phase, as int8, minus the shift of its format.
fn phase_code(op: &Conv, phase: &Phase, output: usize, tap: usize, channel: usize) -> i32 {
    op.weights().code(op.weight_index(output, phase.taps.at(tap), channel)) - int8_shift(op.weights().dtype())
}

fn packed_weights(op: &Conv, layout: Layout, phase_index: usize, first: usize, columns: usize) -> Vec<u32> {
    let (outputs, channels) = (op.weights().dims()[0], op.channels_per_group());
    let phase = phase(op.window(), phase_index);
    let taps = phase.taps.len();
    let byte = |output, tap, channel| u32::from(phase_code(op, &phase, output, tap, channel) as u8);
    let mut words = match layout {
        Layout::Vecs => {
            // One matrix per group and tap, whose rows are the channels.
            let per_group = if op.groups() == 1 { columns } else { op.outputs_per_group() };
            let bits = op.weights().dtype().bits();
            pack_columns(bits, op.groups() * taps, per_group, channels, |matrix, channel, column| {
                phase_code(op, &phase, first + matrix / taps * per_group + column, matrix % taps, channel)
            })
        }
        Layout::Words => {
            let (group_words, stride) = (channels.div_ceil(4), columns.next_multiple_of(4));
            let mut words = vec![0u32; taps * group_words * stride];
            for tap in 0..taps {
                for channel in 0..channels {
                    let row = (tap * group_words + channel / 4) * stride;
                    for column in 0..columns {
                        words[row + column] |= byte(first + column, tap, channel) << (8 * (channel % 4));
                    }
                }
            }
            words
        }
        Layout::Grouped => {
            let group_words = channels.div_ceil(4);
            let mut words = vec![0u32; outputs * taps * group_words];
            for output in 0..outputs {
                for tap in 0..taps {
                    for channel in 0..channels {
                        let at = (output * taps + tap) * group_words + channel / 4;
                        words[at] |= byte(output, tap, channel) << (8 * (channel % 4));
                    }
                }
            }
            words
        }
        Layout::Depthwise => {
            let quads = outputs.div_ceil(4);
            let mut words = vec![0u32; taps * quads];
            for output in 0..outputs {
                for tap in 0..taps {
                    words[tap * quads + output / 4] |= byte(output, tap, 0) << (8 * (output % 4));
                }
            }
            words
        }
    };
    words.extend(column_table(op, &phase, first, columns));
    words
}

/// Σ(w − v) and v of each output channel: the table at the end of the weights, in every order.
fn column_table(op: &Conv, phase: &Phase, first: usize, columns: usize) -> Vec<u32> {
    let channels = op.channels_per_group();
    let shift = int8_shift(op.weights().dtype());
    let entry = |output| {
        let zero_point = op.weight_zero_point(output) - shift;
        let terms = (0..phase.taps.len()).flat_map(|tap| (0..channels).map(move |channel| (tap, channel)));
        let add = |sum: i32, (tap, i)| sum.wrapping_add(phase_code(op, phase, output, tap, i) - zero_point);
        [terms.fold(0, add) as u32, zero_point as u32]
    };
    let mut words: Vec<u32> = (first..first + columns).flat_map(entry).collect();
    words.resize(2 * columns.next_multiple_of(4), 0);
    words
}
