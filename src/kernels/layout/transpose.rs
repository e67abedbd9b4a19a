//! Candidates of `ops::Transpose`: `shaders/layout/transpose_blocks.wgsl` if the last axis moves, and the loops that move single
//! elements or whole rows (`rearrange.rs`). The meaning is `reference/transpose.rs`.

use super::moved::{Entry, Moved};
use super::rearrange::{self, Moves};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, parameters};
use crate::ops::{PostOp, Transpose};
use crate::tensor::TensorType;

parameters! {
    /// `shaders/layout/transpose_blocks.wgsl`.
    struct Params {
        outer: [[u32; 4]; 6],
        axes: u32,
        columns: u32,
        rows: u32,
        input_step: u32,
        output_step: u32,
        input_words: u32,
        output_words: u32,
        column_tiles: u32,
        row_tiles: u32,
        tiles: u32,
        scale: u32,
        zero_point: i32,
        low: i32,
        high: i32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// Invocations of a workgroup, each with one block, along the output's rows and across them.
const GROUP: [u32; 2] = [8, 8];

impl Kernels for Transpose {
    /// Blocks are the best guess unless most of their workgroups' elements lie beyond the edges (benches/NOTES.md).
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let mut candidates = rearrange::candidates(&Moves::transpose(self, post_op), Vec::new, caps);
        if let Some((blocks, owned)) = in_blocks(self, post_op, caps) {
            let first = owned <= 2 * self.output().shape().elements();
            candidates.insert(if first { 0 } else { candidates.len() }, blocks);
        }
        candidates
    }
}

/// Words from one index of each axis to the next; 0 along the last axis, whose elements share words.
fn word_steps(of: &TensorType) -> Vec<u32> {
    let dims = of.dims();
    let mut steps = vec![0; dims.len()];
    let mut step = epilogue::row_words(of);
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        steps[axis] = step;
        step *= dims[axis] as u32;
    }
    steps
}

/// The candidate that moves blocks, and the number of elements that its workgroups own; `None` if the last axis does not move.
fn in_blocks(op: &Transpose, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Option<(Candidate, usize)> {
    let moved = Moved::new(op.input(), op.output(), post_op);
    let (input, output, order) = (moved.input, moved.output, op.order());
    let last = order.len().checked_sub(1)?;
    let [x, y] = GROUP;
    if order[last] == last || x * y > caps.invocations {
        return None;
    }
    // Whole words of both sides.
    let [block_rows, block_columns] = moved.bits().map(|bits| (32 / bits).max(4));
    let mut candidate = Candidate::new(format!("transpose {block_columns}x{block_rows} blocks, {x}x{y} groups"));
    if output.shape().elements() == 0 {
        return Some((candidate, 0));
    }
    let (input_steps, output_steps) = (word_steps(input), word_steps(output));
    // The input's last axis in the output.
    let row_axis = order.iter().position(|&axis| axis == last)?;
    let (columns, rows) = (output.dims()[last], output.dims()[row_axis]);
    let mut outer = [[0; 4]; 6];
    let others = (0..last).rev().filter(|&axis| axis != row_axis);
    let others = others.map(|axis| [output.dims()[axis] as u32, input_steps[order[axis]], output_steps[axis], 0]);
    others.clone().zip(&mut outer).for_each(|(from, to)| *to = from);
    let output_words = epilogue::row_words(output);
    // Padding at the ends of rows is written too.
    let column_tiles = (output_words * (32 / moved.bits()[1])).div_ceil(block_columns * x) as usize;
    let row_tiles = rows.div_ceil((block_rows * y) as usize);
    let tiles = column_tiles * row_tiles * others.clone().map(|[extent, ..]| extent as usize).product::<usize>();
    let Entry { scale, zero_point, low, high } = moved.entry();
    let params = Params {
        outer,
        axes: others.count() as u32,
        columns: columns as u32,
        rows: rows as u32,
        input_step: input_steps[order[last]],
        output_step: output_steps[row_axis],
        input_words: epilogue::row_words(input),
        output_words,
        column_tiles: column_tiles as u32,
        row_tiles: row_tiles as u32,
        tiles: tiles as u32,
        scale,
        zero_point,
        low,
        high,
        ..Params::default()
    };
    let program = moved
        .link(Program::new(&program::TRANSPOSE_BLOCKS))
        .constant("GROUP_X", x)
        .constant("GROUP_Y", y)
        .constant("COLUMNS", block_columns)
        .constant("ROWS", block_rows);
    let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
    let launch = Dispatch::new(program, &params, Params::FIELDS, bindings, tiles, caps);
    candidate.dispatches.push(launch.operations([output.shape().elements()]));
    Some((candidate, tiles * (x * y * block_columns * block_rows) as usize))
}
