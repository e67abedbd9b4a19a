//! Candidates of `ops::Matmul`: products (`product.rs`), after `shaders/gemm/pack_rhs.wgsl` if the right operand is computed on the
//! device. The meaning is `reference/matmul.rs`.

use std::sync::Arc;

use super::bytes::{Dot, int8_flip, int8_shift};
use super::int16_planes::{self, Int16Product};
use super::product::{Product, Rhs, has_zero_point, pack_columns, packed_words};
use crate::kernels::elementwise::broadcast;
use crate::kernels::epilogue::{self, Epilogue};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, parameters};
use crate::ops::{Matmul, Operand, PostOp, Sizes};
use crate::tensor::Tensor;

parameters! {
    /// `shaders/gemm/pack_rhs.wgsl`.
    struct PackParams {
        k: u32,
        n: u32,
        k_vecs: u32,
        input_words: u32,
        weight_stride: u32,
        parameter_step: u32,
        columns_at: u32,
        quads: u32,
        weight_rows: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

impl Kernels for Matmul {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let op = Arc::new(self.clone());
        let (epilogue, tables) = (epilogue(self, post_op), tables(&op, post_op));
        if let Some(planes) = self.byte_planes() {
            let (rows, wide) = (constant_rows(self), self.is_wide());
            let whole = Int16Product { lhs: self.lhs(), epilogue, tables, wide, rows, inputs: self.inputs_count() };
            return int16_planes::candidates(planes.map(|plane| plane.candidates(None, caps)), &whole, caps);
        }
        let rhs_type = self.rhs().tensor_type();
        let sizes = self.batches().folded(self.sizes());
        let matrices: usize = rhs_type.dims()[..rhs_type.shape().rank() - 2].iter().product();
        let weights;
        let rhs = match self.rhs() {
            Operand::Input(_) => {
                Rhs::Computed { pack: Box::new(pack(self, matrices, caps)), parameters: rhs_parameters(&op) }
            }
            Operand::Constant(tensor) => {
                weights = |first, columns| constant_weights(&op, tensor, first, columns);
                Rhs::Known(&weights)
            }
        };
        let product = Product {
            sizes,
            batches: if self.batches().share_rhs() { 1 } else { self.batches().count() },
            dimensions: match self.batches().share_rhs() {
                true => Default::default(),
                false => broadcast::dimensions(&[self.lhs(), rhs_type], self.output_type().shape(), 2),
            },
            lhs: self.lhs(),
            lhs_rows: match self.dynamic() {
                Some((_, parameters)) => parameters.shape().elements(),
                None => constant_rows(self),
            },
            dynamic: self.dynamic().map(|(position, _)| position),
            matrices,
            weight_bits: if matches!(rhs, Rhs::Computed { .. }) { 8 } else { rhs_type.dtype().bits() },
            weights_have_zero_point: has_zero_point(rhs_type),
            epilogue,
            tables,
            inputs: self.inputs_count(),
            rhs,
        };
        product.candidates("matmul", caps).into_iter().map(|(_, candidate)| candidate).collect()
    }
}

/// The rows of a matrix of lhs with constant scales: 1, or all rows if they differ.
fn constant_rows(op: &Matmul) -> usize {
    op.lhs().quantization().map_or(1, |q| q.scales().len().max(1))
}

fn pack(op: &Matmul, matrices: usize, caps: &DeviceCaps) -> Dispatch {
    let Sizes { n, k, .. } = op.sizes();
    let rhs = op.rhs().tensor_type();
    let quads = n.div_ceil(4) * matrices;
    let params = PackParams {
        k: k as u32,
        n: n as u32,
        k_vecs: k.div_ceil(16) as u32,
        input_words: epilogue::row_words(rhs),
        weight_stride: n.next_multiple_of(4) as u32,
        parameter_step: u32::from(rhs.quantization().is_some_and(|q| q.scales().len() > 1)),
        columns_at: (matrices * k.div_ceil(16) * n.next_multiple_of(4)) as u32,
        quads: quads as u32,
        weight_rows: (matrices * k.div_ceil(16)) as u32,
        ..PackParams::default()
    };
    let group = 64.min(caps.invocations).max(1);
    let program = Dot::Int8
        .link(Program::new(&program::PACK_RHS))
        .constant("GROUP_X", group)
        .constant("TRANSPOSED", op.is_transposed())
        .constant("WEIGHT_BITS", rhs.dtype().bits() as u32)
        .constant("WEIGHT_FLIP", int8_flip(rhs.dtype()))
        .constant("WEIGHT_SHIFT", int8_shift(rhs.dtype()));
    let bindings = [
        Binding::read(1, Resource::Input(1)),
        Binding::read(3, Resource::Constant(1)),
        Binding::write(6, Resource::Scratch(0)),
    ];
    Dispatch::new(program, &params, PackParams::FIELDS, bindings, quads.div_ceil(group as usize), caps)
}

fn epilogue<'a>(op: &'a Matmul, post_op: Option<&'a PostOp>) -> Epilogue<'a> {
    Epilogue { output: op.output(), output_type: op.output_type(), stage: op.stage(), post_op }
}

/// The tables of the epilogue, then scale and zero point of each row with constant scales.
fn tables(op: &Arc<Matmul>, post_op: Option<&PostOp>) -> Constant {
    let rows = if op.dynamic().is_some() { 0 } else { constant_rows(op) };
    let count = 4 * (epilogue(op, post_op).rows_at() + rows);
    let (op, post_op) = (op.clone(), post_op.cloned());
    Constant::new("tables", count, move || {
        let mut words = epilogue(&op, post_op.as_ref()).tables();
        words.extend((0..rows).flat_map(|row| {
            let (scale, zero_point) = op.lhs_parameters(row);
            [scale.to_bits(), zero_point as u32, 0, 0]
        }));
        words
    })
}

/// Scale and zero point of each column of a right operand that is computed on the device, or one pair for all.
fn rhs_parameters(op: &Arc<Matmul>) -> Constant {
    let columns = op.rhs().tensor_type().quantization().map_or(1, |q| q.scales().len());
    let op = op.clone();
    Constant::new("scales and zero points of columns", 2 * columns, move || {
        let pair = |column: usize| {
            let (scale, zero_point) = op.rhs_parameters(column);
            [scale.to_bits(), zero_point as u32]
        };
        (0..columns).flat_map(pair).collect()
    })
}

/// Columns of the weights in the order of `shaders/gemm/weights_*.wgsl`, then their table: Σ(w − v) and v of each.
fn constant_weights(op: &Arc<Matmul>, rhs: &Arc<Tensor>, first: usize, columns: usize) -> Constant {
    let (k, bits) = (op.sizes().k, rhs.dtype().bits());
    let matrices: usize = rhs.dims()[..rhs.dims().len() - 2].iter().product();
    let order = if op.is_transposed() { " of a transposed matrix" } else { "" };
    let label = format!("matmul columns {first}..{}{order}", first + columns);
    let (op, of) = (op.clone(), rhs.clone());
    Constant::packed(rhs, label, packed_words(matrices, columns, k, bits), move || {
        let shift = int8_shift(of.dtype());
        let code = |matrix, l, column| of.code(op.rhs_index(matrix, l, first + column)) - shift;
        let mut words = pack_columns(bits, matrices, columns, k, code);
        let entry = |matrix, column: usize| {
            if column >= columns {
                return [0; 2];
            }
            let zero_point = op.rhs_parameters(first + column).1 - shift;
            let sum: i32 = (0..k).fold(0, |sum: i32, l| sum.wrapping_add(code(matrix, l, column) - zero_point));
            [sum as u32, zero_point as u32]
        };
        let stride = columns.next_multiple_of(4);
        words.extend((0..matrices).flat_map(|matrix| (0..stride).flat_map(move |column| entry(matrix, column))));
        words
    })
}
