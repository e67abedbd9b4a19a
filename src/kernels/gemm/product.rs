//! Matrix products of integer codes with constant or computed weights: `shaders/gemm/matmul*.wgsl` in several tiles. Matmuls and
//! convolutions make them.

use super::bytes::{Dot, int8_shift};
use super::coop;
use super::tiling::{Tile, Tiling, rows_first};
use crate::kernels::epilogue::{self, Epilogue};
use crate::kernels::heuristics::matmul_tiles;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Resource, byte_mask, parameters};
use crate::ops::Sizes;
use crate::tensor::{Quantization, TensorType};

parameters! {
    /// `shaders/gemm/params.wgsl`.
    struct Params {
        tail: [u32; 4],
        dimension: [[u32; 4]; 6],
        dimensions: u32,
        m: u32,
        n: u32,
        first_column: u32,
        k_vecs: u32,
        weight_stride: u32,
        columns_at: u32,
        rows_at: u32,
        rows: u32,
        output_quads: u32,
        output_words: u32,
        column_stride: u32,
        tiles_m: u32,
        tiles_n: u32,
        rows_first: u32,
        tiles: u32,
        zero_point: i32,
        low: u32,
        high: u32,
        first_row: u32,
        weight_rows: u32,
        slice_vecs: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// The right operand of a product.
#[derive(Clone)]
pub(crate) enum Rhs<'a> {
    /// Computed on the device. A launch packs it, and binds the scales and zero points of its columns.
    Computed { pack: Box<Dispatch>, parameters: Constant },
    /// A constant: the function returns it for a first column and a number of columns.
    Known(&'a dyn Fn(usize, usize) -> Constant),
}

/// A matrix product as the loops see it. A 1x1 convolution is one too.
#[derive(Clone)]
pub(crate) struct Product<'a> {
    pub sizes: Sizes,
    /// Number of output matrices. The next field is their operands' strides, by `broadcast::dimensions`.
    pub batches: usize,
    pub dimensions: ([[u32; 4]; 6], u32),
    pub lhs: &'a TensorType,
    /// Rows of lhs after which their scales and zero points begin anew; 1 if all rows share one pair.
    pub lhs_rows: usize,
    /// The input that holds these, if they are computed on the device.
    pub dynamic: Option<usize>,
    /// Number of right-hand matrices.
    pub matrices: usize,
    pub rhs: Rhs<'a>,
    /// The bits of a weight as the loops read it.
    pub weight_bits: usize,
    pub weights_have_zero_point: bool,
    pub epilogue: Epilogue<'a>,
    /// The tables of the epilogue and the rows' scales.
    pub tables: Constant,
    /// Number of the op's inputs, which is the index of a residual.
    pub inputs: usize,
}

impl Product<'_> {
    /// The candidates, each with its tile.
    pub(crate) fn candidates(&self, name: &str, caps: &DeviceCaps) -> Vec<(Tile, Candidate)> {
        let tiles = self.tiles(caps);
        tiles.into_iter().map(|tile| (tile, candidate(self, tile, tile.label(name), caps))).collect()
    }

    fn tiles(&self, caps: &DeviceCaps) -> Vec<Tile> {
        Tile::legal(matmul_tiles(self.sizes, self.batches, self.weight_bits, caps), caps)
    }

    /// The candidates if lhs is written to a scratch buffer, at most `rows_at_once` rows at a time. `fill` returns the
    /// launch that writes rows, given the first row and the number of rows. The weights are known.
    pub(crate) fn chunked_candidates(
        &self,
        name: &str,
        rows_at_once: usize,
        fill: impl Fn([usize; 2], Resource) -> Dispatch,
        caps: &DeviceCaps,
    ) -> Vec<(Tile, Candidate)> {
        let Rhs::Known(weights) = self.rhs else { unreachable!("rows are only filled beside known weights") };
        let Sizes { m, n, k } = self.sizes;
        let columns = columns_per_launch(self, caps);
        let candidate = |tile: Tile| {
            let label = tile.label(name);
            let mut candidate = Candidate::new(label);
            if m == 0 || n == 0 {
                return candidate;
            }
            candidate.constants.push(self.tables.clone());
            candidate.scratch.push(rows_at_once.min(m) * k.div_ceil(16) * 4);
            let (constants, rows) = (self.epilogue.rows_at(), self.dynamic.map(Resource::Input));
            let (tables, rows) = bind_tables(&mut candidate, constants, rows, 1, caps);
            let parts = (0..n).step_by(columns).map(|first| (first, columns.min(n - first)));
            candidate.constants.extend(parts.clone().map(|(first, columns)| weights(first, columns)));
            for first_row in (0..m).step_by(rows_at_once) {
                let count = rows_at_once.min(m - first_row);
                candidate.dispatches.push(fill([first_row, count], Resource::Scratch(0)));
                let product = Product { sizes: Sizes { m: count, n, k }, ..self.clone() };
                for (i, (first, columns)) in parts.clone().enumerate() {
                    let (lhs, weights) = (Resource::Scratch(0), Resource::Constant(1 + i));
                    let part = Part { lhs, first_row, first, columns, weights, tables, rows };
                    candidate.dispatches.push(launch(&product, tile, &part, caps));
                }
            }
            candidate
        };
        let legal = self.tiles(caps);
        let on_units = legal[1..].iter().find(|tile| tile.tiling == Tiling::CoopMatrix);
        legal.first().into_iter().chain(on_units).map(|&tile| (tile, candidate(tile))).collect()
    }
}

/// True if a zero point is other than 0 after the codes are read as int8.
pub(crate) fn has_zero_point(weights: &TensorType) -> bool {
    let zero_points = weights.quantization().map_or(&[0][..], Quantization::zero_points);
    zero_points.iter().any(|&zero_point| zero_point != int8_shift(weights.dtype()))
}

/// The WGSL file that reads weights of `bits` bits.
pub(crate) fn weight_part(bits: usize) -> &'static program::Part {
    match bits {
        2 => &program::WEIGHTS_INT2,
        4 => &program::WEIGHTS_INT4,
        _ => &program::WEIGHTS_INT8,
    }
}

/// The columns that one launch multiplies: all, unless their weights exceed a binding.
fn columns_per_launch(product: &Product<'_>, caps: &DeviceCaps) -> usize {
    let Sizes { n, k, .. } = product.sizes;
    // If a row of the output exceeds a binding, the launch is refused for any number of columns.
    let refused = u64::from(epilogue::row_words(product.epilogue.output_type)) * 4 > caps.binding_bytes;
    if matches!(product.rhs, Rhs::Computed { .. }) || refused {
        return n.max(1);
    }
    let bytes = |columns| packed_words(product.matrices, columns, k, product.weight_bits) as u64 * 4;
    if bytes(n) <= caps.binding_bytes { n.max(1) } else { columns_within(caps, bytes(4)) }
}

/// The most columns whose weights fit a binding, given the bytes of four columns. It is a multiple of 16, so that one launch owns
/// whole words of output codes.
pub(crate) fn columns_within(caps: &DeviceCaps, bytes_of_four: u64) -> usize {
    let fours = usize::try_from(caps.binding_bytes / bytes_of_four).unwrap_or(usize::MAX);
    (fours.saturating_mul(4) / 16 * 16).max(16)
}

fn candidate(product: &Product<'_>, tile: Tile, label: String, caps: &DeviceCaps) -> Candidate {
    let Sizes { m, n, .. } = product.sizes;
    let mut candidate = Candidate::new(label);
    if m == 0 || n == 0 || product.batches == 0 {
        return candidate;
    }
    candidate.constants.push(product.tables.clone());
    if let Rhs::Computed { pack, parameters } = &product.rhs {
        candidate.dispatches.push((**pack).clone());
        candidate.constants.push(parameters.clone());
        candidate.scratch.push(packed_words(product.matrices, n, product.sizes.k, product.weight_bits));
    }
    let (constants, rows) = (product.epilogue.rows_at(), product.dynamic.map(Resource::Input));
    let (tables, rows) = bind_tables(&mut candidate, constants, rows, product.lhs_rows, caps);
    let columns = columns_per_launch(product, caps);
    for first in (0..n).step_by(columns) {
        let columns = columns.min(n - first);
        let weights = match product.rhs {
            Rhs::Computed { .. } => Resource::Scratch(0),
            Rhs::Known(weights) => candidate.constant(weights(first, columns)),
        };
        let part = Part { lhs: Resource::Input(0), first_row: 0, first, columns, weights, tables, rows };
        candidate.dispatches.push(launch(product, tile, &part, caps));
    }
    candidate
}

/// Words of packed weights with their table of columns.
pub(crate) fn packed_words(matrices: usize, columns: usize, k: usize, bits: usize) -> usize {
    matrices * columns.next_multiple_of(4) * (k.div_ceil(16) * bits / 2 + 2)
}

/// Some columns of a product, and the buffers of their operands.
struct Part {
    lhs: Resource,
    /// First output row of the launch.
    first_row: usize,
    first: usize,
    columns: usize,
    weights: Resource,
    tables: Resource,
    /// The rows' parameters, if they have a binding of their own; otherwise they are in the tables.
    rows: Option<Resource>,
}

fn launch(product: &Product<'_>, tile: Tile, part: &Part, caps: &DeviceCaps) -> Dispatch {
    let Sizes { m, n, k } = product.sizes;
    let epilogue = &product.epilogue;
    let stage = epilogue.parameters();
    let end = part.first + part.columns;
    // The last launch also writes the padding of the row.
    let output_quads = if end == n { stage.output_quads } else { end as u32 / 4 } - part.first as u32 / 4;
    let [block_rows, block_columns] = tile.block();
    let tiles_m = m.div_ceil(block_rows);
    let tiles_n = (output_quads as usize * 4).div_ceil(block_columns);
    let tiles = tiles_m * tiles_n * product.batches;
    let weight_stride = part.columns.next_multiple_of(4);
    let params = Params {
        tail: byte_mask(if k % 16 == 0 { 16 } else { k % 16 }),
        dimension: product.dimensions.0,
        dimensions: product.dimensions.1,
        m: m as u32,
        n: end as u32,
        first_column: part.first as u32,
        k_vecs: k.div_ceil(16) as u32,
        weight_stride: weight_stride as u32,
        columns_at: (product.matrices * k.div_ceil(16) * weight_stride) as u32,
        rows_at: epilogue.rows_at() as u32,
        rows: product.lhs_rows.max(1) as u32,
        output_quads,
        output_words: stage.output_words,
        column_stride: epilogue.stage.row_stride() as u32,
        tiles_m: tiles_m as u32,
        tiles_n: tiles_n as u32,
        rows_first: rows_first(packed_words(1, part.columns, k, product.weight_bits) * 4),
        tiles: tiles as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        first_row: part.first_row as u32,
        weight_rows: (product.matrices * k.div_ceil(16)) as u32,
        slice_vecs: k.div_ceil(16).div_ceil(tile.slices() as usize) as u32,
        ..Params::default()
    };
    let program = match tile.tiling {
        Tiling::Workgroup(_) => Program::new(&program::MATMUL_WORKGROUP),
        Tiling::CoopMatrix => coop::link_tile(&program::MATMUL_COOP, caps),
        Tiling::Registers | Tiling::SubgroupBroadcast | Tiling::SplitK => Program::new(&program::MATMUL),
    };
    let program = program.with(weight_part(product.weight_bits)).with(if part.rows.is_some() {
        &program::ROW_PARAMETERS_INPUT
    } else {
        &program::ROW_PARAMETERS_TABLE
    });
    let mut program = epilogue
        .link(program)
        .constant("GROUP_X", tile.group[0])
        .constant("GROUP_Y", tile.group[1])
        .constant("TILE_M", tile.rows)
        .constant("TILE_Q", tile.quads)
        .constant("QUAD_STEP", tile.group[0])
        .constant("WEIGHT_ZERO_POINT", product.weights_have_zero_point)
        .constant("LHS_ROWS", product.lhs_rows > 1)
        .constant("ROW_ENTRIES", epilogue.stage.row_stride() != 0);
    program = match tile.tiling {
        Tiling::Workgroup(staging) => staging.link(program),
        Tiling::Registers | Tiling::SubgroupBroadcast | Tiling::SplitK => {
            let sliced = tile.tiling == Tiling::SplitK;
            tile.link_rows(program)
                .with(if sliced { &program::REDUCE_SPLIT_K } else { &program::REDUCE_SPLIT_K_NONE })
                .constant("STEPS", tile.steps(product.weight_bits as u32 / 2))
        }
        Tiling::CoopMatrix => program.constant("STEP", coop::STEP),
    };
    // Cooperative matrices multiply int8. Loops with barriers take minutes to compile with written-out products.
    let emulate_dot4 = caps.emulate_dot4 && matches!(tile.tiling, Tiling::Registers | Tiling::SubgroupBroadcast);
    program = Dot::of(emulate_dot4).link_lhs(program, product.lhs.dtype());
    let bindings = [
        Some(Binding::read(1, part.lhs)),
        Some(Binding::read(2, part.weights)),
        part.rows.map(|rows| Binding::read(3, rows)),
        Some(Binding::read(5, part.tables)),
        Some(Binding::write(6, Resource::Output(0))),
    ];
    let launch = Dispatch::new(program, &params, Params::FIELDS, bindings.into_iter().flatten(), tiles, caps)
        .operations([2, product.batches, m, part.columns, k]);
    epilogue::bind_post_op(launch, epilogue.post_op, product.inputs)
}

parameters! {
    /// `shaders/gemm/combine_tables.wgsl`.
    struct GatherParams {
        constants: u32,
        entries: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// The tables of a candidate's launches (its first constant), and the binding of row parameters that the device computed. If lhs,
/// weights, rows, tables and output are more buffers than the device can bind, a launch first appends the rows to the `constants`
/// vec4s of the tables.
pub(crate) fn bind_tables(
    candidate: &mut Candidate,
    constants: usize,
    rows: Option<Resource>,
    count: usize,
    caps: &DeviceCaps,
) -> (Resource, Option<Resource>) {
    let Some(source) = rows.filter(|_| caps.storage_buffers < 5) else { return (Resource::Constant(0), rows) };
    let joined = Resource::Scratch(candidate.scratch.len());
    candidate.dispatches.push(gather(constants, count, source, joined, caps));
    candidate.scratch.push((constants + count) * 4);
    (joined, None)
}

/// The launch that appends the parameters of rows to the tables.
fn gather(constants: usize, rows: usize, source: Resource, target: Resource, caps: &DeviceCaps) -> Dispatch {
    let entries = constants + rows;
    let params = GatherParams { constants: constants as u32, entries: entries as u32, ..GatherParams::default() };
    let group = 64.min(caps.invocations).max(1);
    let program = Program::new(&program::COMBINE_TABLES).constant("GROUP_X", group);
    let bindings = [Binding::read(3, source), Binding::read(5, Resource::Constant(0)), Binding::write(6, target)];
    Dispatch::new(program, &params, GatherParams::FIELDS, bindings, entries.div_ceil(group as usize), caps)
}

/// Columns of a panel.
const PANEL: usize = 64;

/// Codes minus [`int8_shift`] in the order of `shaders/gemm/weight_panels.wgsl`: `[panel][matrix][k / 16][column of a quad][quad]`,
/// sixteen codes each. One shift and mask extracts four neighbours along k into the bytes of a word.
pub(crate) fn pack_columns(
    bits: usize,
    matrices: usize,
    columns: usize,
    k: usize,
    code: impl Fn(usize, usize, usize) -> i32,
) -> Vec<u32> {
    let (vecs, stride) = (k.div_ceil(16), columns.next_multiple_of(4));
    let (size, lanes) = (bits / 2, 32 / bits);
    let mut words = vec![0u32; matrices * vecs * stride * size];
    for panel in (0..columns).step_by(PANEL) {
        let width = PANEL.min(stride - panel);
        for matrix in 0..matrices {
            for l in 0..k {
                let row = panel * matrices * vecs + (matrix * vecs + l / 16) * width;
                for column in panel..columns.min(panel + PANEL) {
                    let inside = column - panel;
                    let place = row + inside % 4 * (width / 4) + inside / 4;
                    let byte = u32::from(code(matrix, l, column) as u8);
                    let shift = 8 * (l % 4) + bits * (l % lanes / 4);
                    words[place * size + l % 16 / lanes] |= byte << shift;
                }
            }
        }
    }
    words
}
