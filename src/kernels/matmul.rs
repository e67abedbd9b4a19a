//! Candidates of `ops::Matmul`: `shaders/matmul.wgsl` and `shaders/matmul_staged.wgsl` in several tile sizes, after
//! `shaders/pack_weights.wgsl` where the right operand is computed on the device. The meaning is `reference/matmul.rs`.

use super::dispatch::{Binding, Candidate, Constant, Dispatch, Limits, Resource, parameters};
use super::program::{self, Program};
use super::{byte_mask, stage};
use crate::numeric::Format;
use crate::ops::{Matmul, Operand, Output, Sizes, Stage};
use crate::tensor::TensorType;

parameters! {
    /// `shaders/params/matmul.wgsl`.
    struct Params {
        tail: [u32; 4],
        m: u32,
        n: u32,
        k_vecs: u32,
        weight_stride: u32,
        output_quads: u32,
        output_words: u32,
        row_stride: u32,
        column_stride: u32,
        tiles_m: u32,
        tiles_n: u32,
        tiles: u32,
        zero_point: i32,
        low: u32,
        high: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

parameters! {
    /// `shaders/pack_weights.wgsl`.
    struct PackParams {
        k: u32,
        n: u32,
        k_vecs: u32,
        input_words: u32,
        weight_stride: u32,
        parameter_step: u32,
        quads: u32,
        unused: u32,
    }
}

/// How a matmul is cut: invocations per workgroup along columns and rows, and what each owns.
#[derive(Debug, Clone, Copy)]
struct Tile {
    group: [u32; 2],
    rows: u32,
    quads: u32,
    /// vec4s along k that are staged in workgroup memory; 0 reads straight from storage.
    step: u32,
}

impl Tile {
    const fn direct(group: [u32; 2], rows: u32, quads: u32) -> Self {
        Self { group, rows, quads, step: 0 }
    }

    const fn staged(group: [u32; 2], rows: u32, quads: u32, step: u32) -> Self {
        Self { group, rows, quads, step }
    }

    fn block(self) -> [u32; 2] {
        [self.group[1] * self.rows, self.group[0] * self.quads * 4]
    }

    fn is_legal(self, limits: &Limits) -> bool {
        let [rows, columns] = self.block();
        self.group[0] * self.group[1] <= limits.invocations
            && (rows + columns) * self.step * 16 <= limits.workgroup_bytes
    }

    fn label(self, kind: &str) -> String {
        let [x, y] = self.group;
        let shape = format!("{kind} {}x{} tiles, {x}x{y} groups", self.rows, self.quads * 4);
        if self.step == 0 { shape } else { format!("{shape}, {} staged", self.step * 16) }
    }
}

/// Tiles for one row: many neighbouring invocations, each with few columns.
const ONE_ROW: [Tile; 2] = [Tile::direct([32, 1], 1, 1), Tile::direct([8, 1], 1, 2)];

/// Tiles for up to four rows: each weight is read once for all of them.
const FEW_ROWS: [Tile; 2] = [Tile::direct([32, 1], 4, 2), Tile::direct([16, 2], 2, 1)];

/// Tiles for many rows: as many sums in registers as fit, then the same through workgroup memory.
const MANY_ROWS: [Tile; 4] = [
    Tile::direct([8, 4], 8, 2),
    Tile::direct([8, 8], 4, 2),
    Tile::staged([8, 8], 4, 2, 2),
    Tile::staged([8, 16], 4, 1, 4),
];

/// All tiles, the best guess for so many rows first.
fn tiles(rows: usize) -> Vec<Tile> {
    match rows {
        0..=1 => [&ONE_ROW[..], &FEW_ROWS, &MANY_ROWS].concat(),
        2..=4 => [&FEW_ROWS[..], &ONE_ROW, &MANY_ROWS].concat(),
        _ => [&MANY_ROWS[..], &FEW_ROWS, &ONE_ROW].concat(),
    }
}

/// A matrix product as the loops see it; convolutions of single pixels are one too.
pub(super) struct Product<'a> {
    pub sizes: Sizes,
    pub batches: usize,
    pub lhs: &'a TensorType,
    pub lhs_rows_differ: bool,
    pub weights_have_zero_point: bool,
    pub output: &'a Output,
    pub output_type: &'a TensorType,
    pub stage: &'a Stage,
    /// Slots 1 to 5 and 7: lhs, weight, rows, weight columns, stage, batches.
    pub resources: [Resource; 6],
}

pub(super) fn candidates(op: &Matmul, limits: &Limits) -> Vec<Candidate> {
    let rhs_type = op.rhs().tensor_type();
    let sizes = folded(op);
    let batches = if sizes.m == op.sizes().m { op.batches().len() } else { 1 };
    let constant_rhs = matches!(op.rhs(), Operand::Constant(_));
    let [weights, columns] = if constant_rhs {
        [Resource::Constant(3), Resource::Constant(4)]
    } else {
        [Resource::Scratch(0), Resource::Scratch(1)]
    };
    let rows = op.dynamic().map_or(Resource::Constant(0), |(position, _)| Resource::Input(position));
    let product = Product {
        sizes,
        batches,
        lhs: op.lhs(),
        lhs_rows_differ: match op.dynamic() {
            Some((_, parameters)) => parameters.shape().elements() > 1,
            None => op.lhs().quantization().is_some_and(|q| q.scales().len() > 1),
        },
        weights_have_zero_point: has_zero_point(rhs_type.format(), |i| op.rhs_parameters(i).1, op.sizes().n),
        output: op.output(),
        output_type: op.output_type(),
        stage: op.stage(),
        resources: [Resource::Input(0), weights, rows, columns, Resource::Constant(1), Resource::Constant(2)],
    };
    let mut constants = vec![Constant::Rows, Constant::Stage, Constant::Batches];
    if constant_rhs {
        constants.extend([Constant::Weights, Constant::WeightColumns]);
    } else {
        constants.push(Constant::RhsParameters);
    }
    let mut candidates = product_candidates(&product, "matmul", &constants, limits);
    if !constant_rhs {
        let Sizes { n, k, .. } = op.sizes();
        let matrices: usize = rhs_type.dimensions()[..rhs_type.shape().rank() - 2].iter().product();
        for candidate in candidates.iter_mut().filter(|c| !c.dispatches.is_empty()) {
            candidate.dispatches.insert(0, pack(op, matrices, Resource::Constant(3), limits));
            candidate.scratch = vec![matrices * k.div_ceil(16) * n.next_multiple_of(4) * 4, matrices * n * 2];
        }
    }
    candidates
}

/// All batches as rows of one product, where every batch multiplies the same matrix.
fn folded(op: &Matmul) -> Sizes {
    let sizes = op.sizes();
    let in_order = op.batches().iter().enumerate().all(|(i, &pair)| pair == (i, 0));
    Sizes { m: if in_order { sizes.m * op.batches().len() } else { sizes.m }, ..sizes }
}

/// Whether any of the zero points is other than 0 once the codes are read as int8.
pub(super) fn has_zero_point(format: Format, zero_point: impl Fn(usize) -> i32, count: usize) -> bool {
    (0..count).any(|i| zero_point(i) != int8_shift(format))
}

/// What is subtracted from codes of a format to make them int8.
pub(super) fn int8_shift(format: Format) -> i32 {
    if format == Format::Uint8 { 128 } else { 0 }
}

/// What a packed word of a format is XORed with to make it int8.
pub(super) fn int8_flip(format: Format) -> u32 {
    if format == Format::Uint8 { 0x8080_8080 } else { 0 }
}

/// The candidates of a product.
pub(super) fn product_candidates(
    product: &Product<'_>,
    kind: &str,
    constants: &[Constant],
    limits: &Limits,
) -> Vec<Candidate> {
    let legal: Vec<Tile> = tiles(product.sizes.m).into_iter().filter(|tile| tile.is_legal(limits)).collect();
    // A device too small for any of them still runs single invocations.
    let legal = if legal.is_empty() { vec![Tile::direct([1, 1], 1, 1)] } else { legal };
    legal
        .into_iter()
        .map(|tile| Candidate {
            label: tile.label(if tile.step == 0 { kind } else { "staged matmul" }),
            dispatches: launch(product, tile, limits).into_iter().collect(),
            constants: constants.to_vec(),
            scratch: Vec::new(),
        })
        .collect()
}

fn launch(product: &Product<'_>, tile: Tile, limits: &Limits) -> Option<Dispatch> {
    let Sizes { m, n, k } = product.sizes;
    if m == 0 || n == 0 || product.batches == 0 {
        return None;
    }
    let stage = stage::parameters(product.output, product.output_type);
    let [block_rows, block_columns] = tile.block();
    let tiles_m = m.div_ceil(block_rows as usize);
    let tiles_n = (stage.output_quads as usize * 4).div_ceil(block_columns as usize);
    let tiles = tiles_m * tiles_n * product.batches;
    let params = Params {
        tail: byte_mask(if k % 16 == 0 { 16 } else { k % 16 }),
        m: m as u32,
        n: n as u32,
        k_vecs: k.div_ceil(16) as u32,
        weight_stride: n.next_multiple_of(4) as u32,
        output_quads: stage.output_quads,
        output_words: stage.output_words,
        row_stride: product.lhs_rows_differ.into(),
        column_stride: product.stage.row_stride as u32,
        tiles_m: tiles_m as u32,
        tiles_n: tiles_n as u32,
        tiles: tiles as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        ..Params::default()
    };
    let main = if tile.step == 0 { &program::MATMUL } else { &program::MATMUL_STAGED };
    let mut program = stage::link(Program::new(main).with(&program::WEIGHT_INT8), product.output, product.stage)
        .constant("GROUP_X", tile.group[0])
        .constant("GROUP_Y", tile.group[1])
        .constant("TILE_M", tile.rows)
        .constant("TILE_Q", tile.quads)
        .constant("LHS_FLIP", int8_flip(product.lhs.format()))
        .constant("LHS_SHIFT", int8_shift(product.lhs.format()))
        .constant("WEIGHT_ZERO_POINT", product.weights_have_zero_point);
    if tile.step > 0 {
        program = program.constant("STEP", tile.step);
    }
    let slots = [1, 2, 3, 4, 5, 7].into_iter().zip(product.resources);
    let bindings =
        slots.map(|(slot, resource)| Binding::read(slot, resource)).chain([Binding::write(6, Resource::Output(0))]);
    Some(Dispatch::new(program, &params, Params::FIELDS, bindings, tiles, limits))
}

fn pack(op: &Matmul, matrices: usize, parameters: Resource, limits: &Limits) -> Dispatch {
    let Sizes { n, k, .. } = op.sizes();
    let rhs = op.rhs().tensor_type();
    let quads = n.div_ceil(4) * matrices;
    let params = PackParams {
        k: k as u32,
        n: n as u32,
        k_vecs: k.div_ceil(16) as u32,
        input_words: stage::row_words(rhs),
        weight_stride: n.next_multiple_of(4) as u32,
        parameter_step: u32::from(rhs.quantization().is_some_and(|q| q.scales().len() > 1)),
        quads: quads as u32,
        unused: 0,
    };
    let group = 64.min(limits.invocations).max(1);
    let program = Program::new(&program::PACK_WEIGHTS)
        .constant("GROUP_X", group)
        .constant("TRANSPOSED", op.is_transposed())
        .constant("WEIGHT_FLIP", int8_flip(rhs.format()))
        .constant("WEIGHT_SHIFT", int8_shift(rhs.format()));
    let bindings = [
        Binding::read(1, Resource::Input(1)),
        Binding::read(3, parameters),
        Binding::write(5, Resource::Scratch(1)),
        Binding::write(6, Resource::Scratch(0)),
    ];
    Dispatch::new(program, &params, PackParams::FIELDS, bindings, quads.div_ceil(group as usize), limits)
}

pub(super) fn constant(op: &Matmul, constant: Constant) -> Option<Vec<u32>> {
    let Sizes { m, n, k } = op.sizes();
    let words = match constant {
        Constant::Rows => {
            let differ = op.lhs().quantization().is_some_and(|q| q.scales().len() > 1);
            let rows = if differ { op.lhs().shape().rows() } else { 1 };
            let pair = |row: usize| {
                let (scale, zero_point) = op.lhs_parameters(if differ { row % m } else { 0 });
                [scale.to_bits(), zero_point as u32]
            };
            (0..rows).flat_map(pair).collect()
        }
        Constant::Batches if folded(op).m != m => vec![0, 0],
        Constant::Batches => op.batches().iter().flat_map(|&(lhs, rhs)| [lhs as u32, rhs as u32]).collect(),
        Constant::RhsParameters => {
            let count = op.rhs().tensor_type().quantization().map_or(1, |q| q.scales().len());
            let pair = |column: usize| {
                let (scale, zero_point) = op.rhs_parameters(column);
                [scale.to_bits(), zero_point as u32]
            };
            (0..count).flat_map(pair).collect()
        }
        Constant::Weights | Constant::WeightColumns => {
            let Operand::Constant(rhs) = op.rhs() else { return None };
            let matrices: usize = rhs.shape()[..rhs.shape().len() - 2].iter().product();
            let shift = int8_shift(rhs.format());
            let code = |matrix, l, column| rhs.code(op.rhs_index(matrix, l, column)) - shift;
            if constant == Constant::Weights {
                return Some(pack_columns(matrices, n, k, code));
            }
            let entry = |(matrix, column)| {
                let zero_point = op.rhs_parameters(column).1 - shift;
                let sum: i32 = (0..k).fold(0, |sum: i32, l| sum.wrapping_add(code(matrix, l, column) - zero_point));
                [sum as u32, zero_point as u32]
            };
            (0..matrices).flat_map(|matrix| (0..n).map(move |column| (matrix, column))).flat_map(entry).collect()
        }
        Constant::Stage => stage::words(op.stage()),
        _ => return None,
    };
    Some(words)
}

/// Int8 codes in the order of `shaders/weight/int8.wgsl`: `[matrix][k / 16][column, padded to 4]` vec4s.
pub(super) fn pack_columns(
    matrices: usize,
    columns: usize,
    k: usize,
    code: impl Fn(usize, usize, usize) -> i32,
) -> Vec<u32> {
    let (vecs, stride) = (k.div_ceil(16), columns.next_multiple_of(4));
    let mut words = vec![0u32; matrices * vecs * stride * 4];
    for matrix in 0..matrices {
        for l in 0..k {
            let row = (matrix * vecs + l / 16) * stride;
            for column in 0..columns {
                let byte = u32::from(code(matrix, l, column) as u8);
                words[(row + column) * 4 + l % 16 / 4] |= byte << (8 * (l % 4));
            }
        }
    }
    words
}
