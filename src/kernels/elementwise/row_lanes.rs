//! Workgroups of ops that reduce rows of real numbers: lanes of a row, and rows of a workgroup. The reductions are in
//! `shaders/elementwise/row_lanes.wgsl`.

use crate::kernels::launch::program::Program;
use crate::kernels::{Candidate, Constant, DeviceCaps, Dispatch};

/// Lanes and rows of workgroups. On short rows few lanes leave none idle, and a single lane needs no barrier.
const SHAPES: [[u32; 2]; 4] = [[1, 64], [8, 8], [64, 1], [256, 1]];

/// Row lengths up to which the first and the second shape are the best guess.
const SHORT: [usize; 2] = [32, 512];

/// Iterations of a lane, at most: drivers end longer loops.
const TURNS: usize = 32_768;

/// The shapes that a device allows, best guess first. Lanes and rows are powers of two.
pub(crate) fn shapes(n: usize, caps: &DeviceCaps) -> Vec<[u32; 2]> {
    let most = 1 << caps.invocations.max(1).ilog2();
    let mut shapes: Vec<[u32; 2]> =
        SHAPES.into_iter().map(|[lanes, rows]| [lanes.min(most), rows.min(most / lanes.min(most))]).collect();
    shapes.dedup();
    // Shapes that are too small for such rows come last.
    let small = SHORT.iter().filter(|&&most| n > most).count().min(shapes.len() - 1);
    shapes.rotate_left(small);
    let longest = shapes.iter().copied().max_by_key(|shape| shape[0]);
    shapes.retain(|shape| n.div_ceil(shape[0] as usize) <= TURNS || Some(*shape) == longest);
    shapes
}

/// The candidates of a kernel whose rows of n elements are reduced by some lanes each. `launch` returns the dispatch for the
/// program with its lanes, and the number of workgroups. Without elements there is no dispatch.
pub(crate) fn candidates(
    name: &str,
    [rows, n]: [usize; 2],
    constants: &[Constant],
    caps: &DeviceCaps,
    program: &Program,
    launch: impl Fn(Program, usize) -> Dispatch,
) -> Vec<Candidate> {
    let candidate = |[lanes, of]: [u32; 2]| {
        let program = program.clone().constant("LANES", lanes).constant("ROWS", of);
        Candidate {
            label: format!("{name}, {lanes} lanes for a row, {of} rows"),
            dispatches: (rows * n > 0).then(|| launch(program, rows.div_ceil(of as usize))).into_iter().collect(),
            constants: constants.to_vec(),
            scratch: Vec::new(),
        }
    };
    shapes(n, caps).into_iter().map(candidate).collect()
}
