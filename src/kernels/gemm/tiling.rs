//! Tiles of the loops of products: the outputs of a workgroup and of an invocation. `heuristics` lists and orders them.

use super::coop;
use crate::kernels::DeviceCaps;
use crate::kernels::launch::program::{self, Part, Program};

/// The use of the second dimension of a workgroup, and the memory that operands are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tiling {
    /// Further rows, straight from storage.
    Registers,
    /// No second dimension: a workgroup is one subgroup, whose invocations broadcast the rows that they share.
    SubgroupBroadcast,
    /// Slices of k, whose totals are added in order through workgroup memory.
    SplitK,
    /// Further rows, through workgroup memory.
    Workgroup(Staging),
    /// Further columns, through workgroup memory: one subgroup each, on cooperative matrices. `shaders/gemm/coop_tile.wgsl` draws
    /// it.
    CoopMatrix,
}

/// The staging of operands in workgroup memory: vec4s along k at a time, and buffers. With two buffers in turn a step is staged
/// while slower invocations still multiply the one before, and one barrier per step is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Staging {
    pub step: u32,
    pub buffers: u32,
}

impl Staging {
    /// The vec4s of each row and column in workgroup memory.
    pub(crate) fn vecs(self) -> u32 {
        self.step * self.buffers
    }

    /// A program with its constants.
    pub(crate) fn link(self, program: Program) -> Program {
        program.constant("STEP", self.step).constant("BUFFERS", self.buffers)
    }

    pub(crate) fn label(self) -> String {
        let buffers = if self.buffers > 1 { ", double buffered" } else { "" };
        format!("workgroup memory, {} vectors{buffers}", self.step)
    }
}

/// Invocations of a workgroup along columns and along the other dimension, and the rows and quads of columns of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    pub group: [u32; 2],
    pub rows: u32,
    pub quads: u32,
    pub tiling: Tiling,
}

/// Bytes of weights that are expected to stay in a cache while rows of tiles take turns. Larger weights are read once: all rows of
/// tiles meet some columns before any meets the next (`shaders/gemm/tile_order.wgsl`).
const CACHED_BYTES: usize = 1 << 18;

/// 1 if neighbouring workgroups own rows of the same columns, otherwise 0: a parameter of launches.
pub(crate) fn rows_first(weight_bytes: usize) -> u32 {
    u32::from(weight_bytes > CACHED_BYTES)
}

impl Tile {
    /// The tile that every device can run.
    pub(crate) const LEAST: Self = Self::registers([1, 1], 1, 1);

    pub(crate) const fn registers(group: [u32; 2], rows: u32, quads: u32) -> Self {
        Self::new(group, rows, quads, Tiling::Registers)
    }

    pub(crate) const fn subgroup_broadcast(subgroup: u32, rows: u32, quads: u32) -> Self {
        Self::new([subgroup, 1], rows, quads, Tiling::SubgroupBroadcast)
    }

    pub(crate) const fn split_k(group: [u32; 2], rows: u32, quads: u32) -> Self {
        assert!(group[1].is_power_of_two(), "slices are added as a tree");
        Self::new(group, rows, quads, Tiling::SplitK)
    }

    pub(crate) const fn workgroup(group: [u32; 2], rows: u32, quads: u32, step: u32) -> Self {
        Self::new(group, rows, quads, Tiling::Workgroup(Staging { step, buffers: 1 }))
    }

    pub(crate) const fn double_buffered(group: [u32; 2], rows: u32, quads: u32, step: u32) -> Self {
        Self::new(group, rows, quads, Tiling::Workgroup(Staging { step, buffers: 2 }))
    }

    /// The loops of the shaders write out one or two quads: a list with another number doesn't compile.
    const fn new(group: [u32; 2], rows: u32, quads: u32, tiling: Tiling) -> Self {
        assert!(quads == 1 || quads == 2, "the shaders' loops have one or two quads of columns");
        Self { group, rows, quads, tiling }
    }

    /// A workgroup of `subgroups` subgroups, each of which owns `rows` rows by 32 columns.
    pub(crate) const fn coop_matrix(lanes: u32, subgroups: u32, rows: u32) -> Self {
        Self { group: [lanes, subgroups], rows, quads: 8, tiling: Tiling::CoopMatrix }
    }

    /// Number of slices of k.
    pub(crate) fn slices(self) -> u32 {
        if self.tiling == Tiling::SplitK { self.group[1] } else { 1 }
    }

    /// Steps along k of a turn of the loop, given the words of a column's weights in a step. All weights of a turn are read before its
    /// first products, so that a device with few invocations has enough bytes on their way: eight words of each column. Tiles of
    /// more rows or quads would need too many registers.
    pub(crate) fn steps(self, words: u32) -> u32 {
        if self.tiling == Tiling::SplitK && self.rows == 1 && self.quads == 1 {
            (8 / words.max(1)).clamp(1, 4)
        } else {
            1
        }
    }

    /// Rows and columns of a workgroup.
    pub(crate) fn block(self) -> [usize; 2] {
        let ([x, y], columns) = (self.group, self.quads * 4);
        let block = match self.tiling {
            Tiling::Registers | Tiling::SubgroupBroadcast | Tiling::Workgroup(_) => [self.rows * y, columns * x],
            Tiling::SplitK => [self.rows, columns * x],
            Tiling::CoopMatrix => [self.rows, columns * y],
        };
        block.map(|size| size as usize)
    }

    /// True if the device has enough invocations and workgroup memory. Each row and column has `Staging::vecs` vec4s staged.
    pub(crate) fn is_legal(self, caps: &DeviceCaps) -> bool {
        let threads = self.group[0] * self.group[1];
        let vecs = match self.tiling {
            Tiling::Registers | Tiling::SubgroupBroadcast => 0,
            Tiling::SplitK => (threads * self.quads + self.slices()) * self.rows,
            Tiling::Workgroup(staging) => (self.block()[0] + self.block()[1]) as u32 * staging.vecs(),
            Tiling::CoopMatrix => coop::vecs(self, caps),
        };
        let exists = match self.tiling {
            Tiling::SubgroupBroadcast => caps.is_subgroup(threads),
            Tiling::CoopMatrix => coop::divides(self, caps),
            Tiling::Registers | Tiling::SplitK | Tiling::Workgroup(_) => true,
        };
        exists && threads <= caps.invocations && vecs * 16 <= caps.workgroup_bytes
    }

    /// The part that reads rows of lhs from storage.
    pub(crate) fn row_source(self) -> &'static Part {
        if self.tiling == Tiling::SubgroupBroadcast {
            &program::ROW_SOURCE_SUBGROUP
        } else {
            &program::ROW_SOURCE_DIRECT
        }
    }

    /// Adds the distribution of row reads over invocations and slices of k to a program that reads rows from storage.
    pub(crate) fn link_rows(self, program: Program) -> Program {
        program
            .with(self.row_source())
            .with(if self.tiling == Tiling::SplitK { &program::SPLIT_K } else { &program::SPLIT_K_NONE })
            .constant("SLICES", self.slices())
    }

    /// The kernel's name with its sizes; unique for each tile.
    pub(crate) fn label(self, kind: &str) -> String {
        let ([x, y], Self { rows, quads, .. }) = (self.group, self);
        let shape = format!("{kind} {rows}x{} tiles, {x}x{y} groups", quads * 4);
        match self.tiling {
            Tiling::Registers => shape,
            Tiling::SubgroupBroadcast => format!("{shape}, subgroup broadcast"),
            Tiling::SplitK => format!("{shape}, split-k {y}"),
            Tiling::Workgroup(staging) => format!("{shape}, {}", staging.label()),
            Tiling::CoopMatrix => format!("{shape}, cooperative matrix"),
        }
    }

    /// The tiles that a device can run, or [`Self::LEAST`].
    pub(crate) fn legal(tiles: impl IntoIterator<Item = Self>, caps: &DeviceCaps) -> Vec<Self> {
        let legal: Vec<Self> = tiles.into_iter().filter(|tile| tile.is_legal(caps)).collect();
        if legal.is_empty() { vec![Self::LEAST] } else { legal }
    }
}
