//! Common code of loops on cooperative matrices, `shaders/gemm/coop_tile.wgsl`: their tiles, and their demands on a device. The
//! products are in the files of the ops.

use super::tiling::Tile;
use crate::kernels::DeviceCaps;
use crate::kernels::launch::program::{self, Part, Program};

/// vec4s of codes along k that are staged at a time.
pub(crate) const STEP: u32 = 2;

/// Matrices of rows of a subgroup, and subgroups of a workgroup, the best guess first.
const SHAPES: [[u32; 2]; 2] = [[4, 4], [2, 2]];

/// All tiles; none if the device has no cooperative matrices.
pub(crate) fn tiles(caps: &DeviceCaps) -> impl Iterator<Item = Tile> {
    let shapes = if caps.coop_matrix_size > 0 { &SHAPES[..] } else { &[] };
    shapes
        .iter()
        .map(|[rows, subgroups]| Tile::coop_matrix(caps.max_subgroup_size, *subgroups, rows * caps.coop_matrix_size))
}

/// The vec4s of workgroup memory of a tile: rows and columns of f16, each with half a vec4 of padding, the sums of a row of
/// matrices, and one number per row.
pub(crate) fn vecs(tile: Tile, caps: &DeviceCaps) -> u32 {
    let [rows, columns] = tile.block().map(|size| size as u32);
    (rows + columns) * (2 * STEP + 1) + caps.coop_matrix_size * columns / 4 + rows.div_ceil(4)
}

/// True if every invocation owns the same number of sums.
pub(crate) fn divides(tile: Tile, caps: &DeviceCaps) -> bool {
    let [lanes, quads] = [tile.group[0], caps.coop_matrix_size * tile.quads];
    lanes > 0 && lanes <= quads && quads.is_multiple_of(lanes)
}

/// A program with matrices of the device's size.
pub(crate) fn link(main: &'static Part, caps: &DeviceCaps) -> Program {
    // The size comes first, because it enables extensions.
    let size = if caps.coop_matrix_size == 8 { &program::COOP_SIZE_8 } else { &program::COOP_SIZE_16 };
    Program::new(size).with(main)
}

/// The program of a loop over blocks, `shaders/gemm/coop_tile.wgsl`. Matrices of 8 rows are Metal's.
pub(crate) fn link_tile(main: &'static Part, caps: &DeviceCaps) -> Program {
    let scalars = caps.coop_matrix_size == 8;
    let staging = if scalars { &program::COOP_STAGING_SCALARS } else { &program::COOP_STAGING_VECTORS };
    link(main, caps).with(staging)
}
