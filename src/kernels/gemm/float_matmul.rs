//! Candidates of `ops::FloatMatmul`: `shaders/gemm/float_matmul.wgsl` and `shaders/gemm/float_matmul_workgroup.wgsl` in several
//! tile sizes, after `shaders/gemm/pack_floats.wgsl` for operands in another layout than the loops read. The meaning is
//! `reference/float_matmul.rs`.

use std::sync::Arc;

use super::product::columns_within;
use super::tiling::{Tile, Tiling, rows_first};
use crate::kernels::convert::convert;
use crate::kernels::elementwise::broadcast;
use crate::kernels::heuristics::float_matmul_tiles;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_group, link_float16,
    parameters,
};
use crate::numeric::DType;
use crate::ops::{FloatMatmul, OpDef, Operand, PostOp, Sizes};
use crate::tensor::{Tensor, TensorType};

parameters! {
    /// `shaders/gemm/float_params.wgsl`.
    struct Params {
        dimension: [[u32; 4]; 6],
        dimensions: u32,
        m: u32,
        n: u32,
        first_column: u32,
        k_vecs: u32,
        slice_vecs: u32,
        lhs_stride: u32,
        rhs_quads: u32,
        panel_quads: u32,
        experts: u32,
        bias_stride: u32,
        output_words: u32,
        output_quads: u32,
        tiles_m: u32,
        tiles_n: u32,
        rows_first: u32,
        tiles: u32,
        low: u32,
        high: u32,
        unused_0: u32,
    }
}

parameters! {
    /// `shaders/gemm/pack_floats.wgsl`.
    struct PackParams {
        rows: u32,
        columns: u32,
        packed_rows: u32,
        packed_vecs: u32,
        input_words: u32,
        vecs: u32,
        panel_vecs: u32,
        unused_0: u32,
    }
}

/// Quads of columns in a panel: they are contiguous along k, so that a tile reads memory in order.
const PANEL_QUADS: usize = 16;

impl Kernels for FloatMatmul {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let batches = self.batches();
        let (sizes, count) = (batches.folded(self.sizes()), if batches.share_rhs() { 1 } else { batches.count() });
        let dtypes = [self.lhs().dtype(), self.rhs().tensor_type().dtype()];
        let tiles = float_matmul_tiles(sizes, count, dtypes, caps);
        Tile::legal(tiles, caps).into_iter().map(|tile| candidate(self, tile, post_op, caps)).collect()
    }
}

fn matrices(tensor_type: &TensorType) -> usize {
    tensor_type.dims()[..tensor_type.shape().rank() - 2].iter().product()
}

/// True if lhs is read unpacked: it is whole vectors along k.
fn lhs_as_it_is(op: &FloatMatmul) -> bool {
    !op.is_lhs_transposed() && op.sizes().k.is_multiple_of(4)
}

/// True if an rhs that is computed on the device is read unpacked: it is whole vec4s along n, and k is a multiple of four.
fn rhs_as_it_is(op: &FloatMatmul) -> bool {
    let Sizes { n, k, .. } = op.sizes();
    let dtype = op.rhs().tensor_type().dtype();
    !op.is_rhs_transposed() && dtype == DType::Float32 && n.is_multiple_of(4) && k.is_multiple_of(4)
}

/// The bindings of a candidate's launches other than rhs.
struct Operands<'a> {
    lhs: Resource,
    /// The format in which lhs is read, and the elements of its binding from one row to the next.
    lhs_format: DType,
    lhs_stride: usize,
    bias: Option<Resource>,
    post_op: Option<&'a PostOp>,
}

fn candidate(op: &FloatMatmul, tile: Tile, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Candidate {
    let label = tile.label("float matmul");
    let mut candidate = Candidate::new(label);
    if op.output_type().shape().elements() == 0 {
        return candidate;
    }
    let Sizes { m, n, k } = op.sizes();
    let k_vecs = k.div_ceil(4);
    let pack_operand = |candidate: &mut Candidate, operand: Transposable<'_>, input, packed: [usize; 3]| {
        let [packed_rows, packed_vecs, _] = packed;
        let scratch = Resource::Scratch(candidate.scratch.len());
        let vecs = matrices(operand.0) * packed_rows * packed_vecs;
        candidate.scratch.push(vecs * 4);
        if vecs > 0 {
            let input = Resource::Input(input);
            candidate.dispatches.push(pack(operand, input, scratch, packed, caps));
        }
        scratch
    };
    let lhs_format = if lhs_as_it_is(op) { op.lhs().dtype() } else { DType::Float32 };
    let lhs = match lhs_as_it_is(op) {
        true => Resource::Input(0),
        false => pack_operand(&mut candidate, (op.lhs(), op.is_lhs_transposed(), [m, k]), 0, [m, k_vecs, k_vecs]),
    };
    let bias = op.bias().map(|bias| match bias {
        Operand::Constant(bias) => candidate.constant(Constant::floats("bias", bias)),
        Operand::Input(_) => Resource::Input(op.inputs_before_bias()),
    });
    let half = lhs_format == DType::Float16;
    let lhs_stride = if half { epilogue::row_words(op.lhs()) as usize / 2 } else { k_vecs };
    let operands = Operands { lhs, lhs_format, lhs_stride, bias, post_op };
    let whole = Part { first: 0, columns: n };
    match op.rhs() {
        Operand::Constant(rhs) => {
            let bytes =
                |columns: usize| (matrices(rhs.tensor_type()) * k_vecs * columns.next_multiple_of(4)) as u64 * 16;
            let columns = if bytes(n) <= caps.binding_bytes { n } else { columns_within(caps, bytes(4)) };
            for first in (0..n).step_by(columns) {
                let part = Part { first, columns: columns.min(n - first) };
                let rhs = candidate.constant(weights(op, rhs, part));
                candidate.dispatches.push(launch(op, tile, &operands, rhs, part, caps));
            }
        }
        Operand::Input(_) if rhs_as_it_is(op) => {
            candidate.dispatches.push(launch(op, tile, &operands, Resource::Input(1), whole, caps));
        }
        Operand::Input(rhs) => {
            let operand = (rhs, op.is_rhs_transposed(), [k, n]);
            let rhs = pack_operand(&mut candidate, operand, 1, [k_vecs * 4, n.div_ceil(4), PANEL_QUADS]);
            candidate.dispatches.push(launch(op, tile, &operands, rhs, whole, caps));
        }
    }
    candidate
}

/// An operand, a flag that is true if it is transposed, and the rows and columns of its matrices after transposition.
type Transposable<'a> = (&'a TensorType, bool, [usize; 2]);

fn pack(
    (operand, transposed, [rows, columns]): Transposable<'_>,
    source: Resource,
    target: Resource,
    [packed_rows, packed_vecs, panel_vecs]: [usize; 3],
    caps: &DeviceCaps,
) -> Dispatch {
    let vecs = matrices(operand) * packed_rows * packed_vecs;
    let params = PackParams {
        rows: rows as u32,
        columns: columns as u32,
        packed_rows: packed_rows as u32,
        packed_vecs: packed_vecs as u32,
        input_words: epilogue::row_words(operand),
        vecs: vecs as u32,
        panel_vecs: panel_vecs as u32,
        unused_0: 0,
    };
    let threads = line_group(caps);
    let program = Program::new(&program::PACK_FLOATS).constant("GROUP_X", threads).constant("TRANSPOSED", transposed);
    let program = convert::link_decode(program, operand.dtype());
    let bindings = [Binding::read(1, source), Binding::write(6, target)];
    Dispatch::new(program, &params, PackParams::FIELDS, bindings, vecs.div_ceil(threads as usize), caps)
}

/// The columns that one launch multiplies.
#[derive(Debug, Clone, Copy)]
struct Part {
    first: usize,
    columns: usize,
}

fn launch(
    op: &FloatMatmul,
    tile: Tile,
    operands: &Operands<'_>,
    rhs: Resource,
    part: Part,
    caps: &DeviceCaps,
) -> Dispatch {
    let Sizes { m, n, k } = op.batches().folded(op.sizes());
    let batches = if op.batches().share_rhs() { 1 } else { op.batches().count() };
    let output = op.output_type();
    let half = output.dtype() == DType::Float16;
    let output_words = epilogue::row_words(output);
    let end = part.first + part.columns;
    // The last launch also writes the padding of the row.
    let row_quads = if half { output_words / 2 } else { n.div_ceil(4) as u32 };
    let output_quads = if end == n { row_quads } else { end as u32 / 4 } - part.first as u32 / 4;
    let [block_rows, block_columns] = tile.block();
    let tiles_m = m.div_ceil(block_rows);
    let tiles_n = (output_quads as usize * 4).div_ceil(block_columns);
    let tiles = tiles_m * tiles_n * batches;
    let k_vecs = k.div_ceil(4);
    let (low, high) = op.bounds();
    let mut params = Params {
        m: m as u32,
        n: n as u32,
        first_column: part.first as u32,
        k_vecs: k_vecs as u32,
        slice_vecs: k_vecs.div_ceil(tile.slices() as usize) as u32,
        lhs_stride: operands.lhs_stride as u32,
        rhs_quads: part.columns.div_ceil(4) as u32,
        // An rhs that is read unpacked has rows of one panel.
        panel_quads: if rhs == Resource::Input(1) { n.div_ceil(4) } else { PANEL_QUADS } as u32,
        experts: 1,
        output_words,
        output_quads,
        tiles_m: tiles_m as u32,
        tiles_n: tiles_n as u32,
        rows_first: rows_first(n * k_vecs * 16),
        tiles: tiles as u32,
        low: low.to_bits(),
        high: high.to_bits(),
        ..Params::default()
    };
    if batches > 1 {
        let operands = [op.lhs(), op.rhs().tensor_type()];
        (params.dimension, params.dimensions) = broadcast::dimensions(&operands, output.shape(), 2);
    }
    let mut program = Program::new(match tile.tiling {
        Tiling::Workgroup(_) => &program::FLOAT_MATMUL_WORKGROUP,
        _ => &program::FLOAT_MATMUL,
    })
    .with(if operands.lhs_format == DType::Float16 { &program::LHS_FLOAT16 } else { &program::LHS_FLOAT32 });
    if operands.lhs_format == DType::Float16 {
        program = link_float16(program, caps);
    }
    program = program
        .with(if operands.bias.is_some() { &program::BIAS_TABLE } else { &program::BIAS_NONE })
        .constant("GROUP_X", tile.group[0])
        .constant("GROUP_Y", tile.group[1])
        .constant("TILE_M", tile.rows)
        .constant("TILE_Q", tile.quads);
    program = epilogue::link_store_reals(program, output.dtype(), operands.post_op);
    program = match tile.tiling {
        Tiling::Workgroup(staging) => staging.link(program),
        _ => tile.link_rows(program).constant("STEPS", tile.steps(4)),
    };
    if operands.bias.is_some() {
        program = program.with(&program::SMALL_INPUTS_BIAS);
    }
    let bindings = [
        Some(Binding::read(1, operands.lhs)),
        Some(Binding::read(2, rhs)),
        operands.bias.map(|bias| Binding::read(5, bias)),
        Some(Binding::write(6, Resource::Output(0))),
    ];
    let launch = Dispatch::new(program, &params, Params::FIELDS, bindings.into_iter().flatten(), tiles, caps);
    let launch = launch.operations([2, batches, m, part.columns, k]);
    epilogue::bind_post_op(launch, operands.post_op, op.inputs().len())
}

/// Columns of a right operand in the order of the loops: `[matrix][panel of columns][k][column]`.
fn weights(op: &FloatMatmul, rhs: &Arc<Tensor>, part: Part) -> Constant {
    let Part { first, columns } = part;
    let (matrices, k) = (matrices(rhs.tensor_type()), op.sizes().k);
    let (rows, stride) = (k.next_multiple_of(4), columns.next_multiple_of(4));
    let label = format!(
        "float_matmul columns {first}..{}{}",
        first + columns,
        if op.is_rhs_transposed() { " of a transposed matrix" } else { "" }
    );
    let (op, of) = (op.clone(), rhs.clone());
    Constant::packed(rhs, label, matrices * rows * stride, move || {
        let mut words = Vec::with_capacity(matrices * rows * stride);
        let floats = FloatMatmul::floats(&of);
        for matrix in 0..matrices {
            for panel in (0..stride).step_by(PANEL_QUADS * 4) {
                for l in 0..rows {
                    words.extend((panel..stride.min(panel + PANEL_QUADS * 4)).map(|column| {
                        let inside = l < k && column < columns;
                        if inside { floats[op.rhs_index(matrix, l, first + column)].to_bits() } else { 0 }
                    }));
                }
            }
        }
        words
    })
}
