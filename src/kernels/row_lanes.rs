//! Workgroups for ops that reduce rows of real numbers: how many lanes share a row, and how many rows a workgroup has. What
//! lanes do together is `shaders/elementwise/row_lanes.wgsl`.

use super::dispatch::{Candidate, Constant, DeviceCaps, Dispatch};
use super::program::Program;

/// Lanes and rows of workgroups. Few lanes waste none on short rows, and one has nobody to wait for.
const SHAPES: [[u32; 2]; 4] = [[1, 64], [8, 8], [64, 1], [256, 1]];

/// Rows up to these lengths are best left to the first shape, or to the second.
const SHORT: [usize; 2] = [32, 512];

/// Turns that a lane may take: drivers end longer loops.
const TURNS: usize = 32_768;

/// The shapes that a device allows, best guess first; both are powers of two.
pub(super) fn shapes(n: usize, caps: &DeviceCaps) -> Vec<[u32; 2]> {
    let most = 1 << caps.invocations.max(1).ilog2();
    let mut shapes: Vec<[u32; 2]> =
        SHAPES.into_iter().map(|[lanes, rows]| [lanes.min(most), rows.min(most / lanes.min(most))]).collect();
    shapes.dedup();
    // The shapes that are too small for such rows come last.
    let small = SHORT.iter().filter(|&&most| n > most).count().min(shapes.len() - 1);
    shapes.rotate_left(small);
    let longest = shapes.iter().copied().max_by_key(|shape| shape[0]);
    shapes.retain(|shape| n.div_ceil(shape[0] as usize) <= TURNS || Some(*shape) == longest);
    shapes
}

/// The candidates of a kernel that gives each row of n elements to some lanes; `launch` makes the dispatch from the program, with
/// its lanes, and the number of workgroups. Without elements there is none.
pub(super) fn candidates(
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
