//! How the loops of products are cut: what a workgroup and an invocation own. Which tiles a kernel offers is in its own file.

use super::dispatch::Limits;
use super::matrix;
use super::program::Program;

/// What becomes of the second dimension of a workgroup, and where operands are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Further rows, straight from storage.
    Direct,
    /// Nothing: a workgroup is a subgroup, whose invocations hand each other the rows that they share.
    Shared,
    /// Slices of k, whose totals are added in order through workgroup memory.
    Sliced,
    /// Further rows, through workgroup memory.
    Staged(Staging),
    /// Further columns, through workgroup memory: one subgroup each, on matrix units. `matrix` draws it.
    Matrix,
}

/// How operands go through workgroup memory: so many vec4s along k at a time, into one buffer, or into two in turn, so that a
/// step is staged while slower neighbours still multiply the one before, and one barrier a step is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Staging {
    pub step: u32,
    pub buffers: u32,
}

impl Staging {
    /// The vec4s of each row and column that workgroup memory holds.
    pub(super) fn vecs(self) -> u32 {
        self.step * self.buffers
    }

    /// A program with its constants.
    pub(super) fn link(self, program: Program) -> Program {
        program.constant("STEP", self.step).constant("BUFFERS", self.buffers)
    }

    pub(super) fn label(self) -> String {
        let buffers = if self.buffers > 1 { " in turn" } else { "" };
        format!("{} vectors staged{buffers}", self.step)
    }
}

/// Invocations of a workgroup along columns and the other way, and the rows and quads of columns that each owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    pub group: [u32; 2],
    pub rows: u32,
    pub quads: u32,
    pub way: Way,
}

/// The bytes of weights that may stay in a cache while rows of tiles take turns. Larger weights are gone through once: every
/// row of tiles meets some columns before any meets the next (`shaders/lib/tile_order.wgsl`).
const CACHED_BYTES: usize = 1 << 18;

/// Whether neighbouring workgroups own rows of the same columns, as the parameter of a launch.
pub(super) fn rows_first(weight_bytes: usize) -> u32 {
    u32::from(weight_bytes > CACHED_BYTES)
}

impl Tile {
    /// The tile that every device can run.
    pub(super) const LEAST: Self = Self::direct([1, 1], 1, 1);

    pub(super) const fn direct(group: [u32; 2], rows: u32, quads: u32) -> Self {
        Self { group, rows, quads, way: Way::Direct }
    }

    pub(super) const fn shared(subgroup: u32, rows: u32, quads: u32) -> Self {
        Self { group: [subgroup, 1], rows, quads, way: Way::Shared }
    }

    pub(super) const fn sliced(group: [u32; 2], rows: u32, quads: u32) -> Self {
        Self { group, rows, quads, way: Way::Sliced }
    }

    pub(super) const fn staged(group: [u32; 2], rows: u32, quads: u32, step: u32) -> Self {
        Self { group, rows, quads, way: Way::Staged(Staging { step, buffers: 1 }) }
    }

    pub(super) const fn double_buffered(group: [u32; 2], rows: u32, quads: u32, step: u32) -> Self {
        Self { group, rows, quads, way: Way::Staged(Staging { step, buffers: 2 }) }
    }

    /// A workgroup of so many subgroups, each of which owns so many rows by 32 columns.
    pub(super) const fn matrix(lanes: u32, subgroups: u32, rows: u32) -> Self {
        Self { group: [lanes, subgroups], rows, quads: 8, way: Way::Matrix }
    }

    /// Slices of k.
    pub(super) fn slices(self) -> u32 {
        if self.way == Way::Sliced { self.group[1] } else { 1 }
    }

    /// Rows and columns of a workgroup.
    pub(super) fn block(self) -> [usize; 2] {
        let ([x, y], columns) = (self.group, self.quads * 4);
        let block = match self.way {
            Way::Direct | Way::Shared | Way::Staged(_) => [self.rows * y, columns * x],
            Way::Sliced => [self.rows, columns * x],
            Way::Matrix => [self.rows, columns * y],
        };
        block.map(|size| size as usize)
    }

    /// Whether a device has the invocations and workgroup memory. A staged vec4 along k is one of each row and column.
    pub(super) fn is_legal(self, limits: &Limits) -> bool {
        let threads = self.group[0] * self.group[1];
        let vecs = match self.way {
            Way::Direct | Way::Shared => 0,
            Way::Sliced => threads,
            Way::Staged(staging) => (self.block()[0] + self.block()[1]) as u32 * staging.vecs(),
            Way::Matrix => matrix::vecs(self, limits),
        };
        let exists = match self.way {
            Way::Shared => limits.is_subgroup(threads),
            Way::Matrix => matrix::divides(self, limits),
            Way::Direct | Way::Sliced | Way::Staged(_) => true,
        };
        exists && threads <= limits.invocations && vecs * 16 <= limits.workgroup_bytes
    }

    /// The kernel's name with the sizes; unique where tiles differ.
    pub(super) fn label(self, kind: &str) -> String {
        let ([x, y], Self { rows, quads, .. }) = (self.group, self);
        let shape = format!("{kind} {rows}x{} tiles, {x}x{y} groups", quads * 4);
        match self.way {
            Way::Direct => shape,
            Way::Shared => format!("{shape}, rows shared"),
            Way::Sliced => format!("{shape}, k in {y} slices"),
            Way::Staged(staging) => format!("{shape}, {}", staging.label()),
            Way::Matrix => format!("{shape}, on matrix units"),
        }
    }

    /// Those of these tiles that a device can run, or the least.
    pub(super) fn legal(tiles: impl IntoIterator<Item = Self>, limits: &Limits) -> Vec<Self> {
        let legal: Vec<Self> = tiles.into_iter().filter(|tile| tile.is_legal(limits)).collect();
        if legal.is_empty() { vec![Self::LEAST] } else { legal }
    }
}
