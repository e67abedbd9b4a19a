//! Costs of kernels on a CPU, in units of a product whose operands are in registers. Fitted on llvmpipe of Mesa 22.3.6, two cores
//! (benches/NOTES.md).

use super::super::DeviceCaps;
#[cfg(feature = "convolution")]
use super::super::conv::loops::{ConvKernel, Loop};
use super::super::gemm::tiling::{Tile, Tiling};
#[cfg(feature = "convolution")]
use crate::ops::Conv;
use crate::ops::Sizes;

/// Cost of loading an operand from a row of weights or of lhs, in products.
const LOAD_WEIGHTS: f64 = 5.0;
const LOAD_LHS: f64 = 5.5;

/// An output in tiles: its rows (pixels) and columns, the invocations of a workgroup along columns and rows, the rows and columns
/// of an invocation, and the invocations that share reads of rows.
#[derive(Debug, Clone, Copy)]
struct Grid {
    sizes: [usize; 2],
    group: [u32; 2],
    rows: u32,
    columns: u32,
    sharers: u32,
    /// The invocations that run in lockstep: a smaller workgroup leaves lanes idle.
    lanes: u32,
}

impl Grid {
    fn new(sizes: [usize; 2], tile: Tile, caps: &DeviceCaps) -> Self {
        let lanes = caps.lanes;
        let (group, lanes) = match tile.tiling {
            Tiling::CoopMatrix => ([tile.group[1], 1], 1),
            Tiling::SplitK => ([tile.group[0], 1], lanes),
            Tiling::Registers | Tiling::SubgroupBroadcast | Tiling::Workgroup(_) => (tile.group, lanes),
        };
        let sharers = if tile.tiling == Tiling::SubgroupBroadcast { group[0] } else { 1 };
        Self { sizes, group, rows: tile.rows, columns: tile.quads * 4, sharers, lanes }
    }

    /// Number of outputs that are computed, including tiles that overlap the edges and idle lanes.
    fn computed(self) -> f64 {
        let ([rows, columns], [x, y]) = (self.sizes, self.group);
        let groups = rows.div_ceil((y * self.rows) as usize) * columns.div_ceil((x * self.columns) as usize);
        groups as f64 * f64::from((x * y).max(self.lanes) * self.rows * self.columns)
    }

    /// The cost of products along `k`, in units of a product whose operands are in registers. An operand is loaded once per tile,
    /// so small tiles pay more for each product.
    fn products(self, k: usize) -> f64 {
        let loads = LOAD_WEIGHTS / f64::from(self.columns * self.sharers) + LOAD_LHS / f64::from(self.rows);
        self.computed() * k as f64 * (1.0 + loads)
    }
}

/// Products through workgroup memory and on cooperative matrices, relative to those in registers.
const WORKGROUP_PRODUCT: f64 = 4.0;
const COOP_PRODUCT: f64 = 6.0;

/// Estimated cost of a product of integer codes, in units of a product whose operands are in registers.
pub(super) fn matmul_cost(Sizes { m, n, k }: Sizes, tile: Tile, caps: &DeviceCaps) -> f64 {
    let slower = match tile.tiling {
        Tiling::Registers | Tiling::SubgroupBroadcast | Tiling::SplitK => 1.0,
        Tiling::Workgroup(_) => WORKGROUP_PRODUCT,
        Tiling::CoopMatrix => COOP_PRODUCT,
    };
    Grid::new([m, n], tile, caps).products(k.next_multiple_of(16)) * slower
}

/// Products in the loops of convolutions, relative to those of matmuls. They include finding the taps, words in place of vec4s, and
/// workgroup memory.
const CONV_PRODUCT: f64 = 1.14;
const CONV_WORKGROUP_PRODUCT: f64 = 4.6;
const CONV_WORDS_PRODUCT: f64 = 5.4;
const CONV_GROUPED_PRODUCT: f64 = 8.0;

/// Loading a pixel in a depthwise loop, and finding a tap, in products.
const DEPTHWISE_LOAD: f64 = 0.9;
const DEPTHWISE_TAP: f64 = 2.3;

/// Estimated cost of a convolution, in the unit of [`matmul_cost`].
#[cfg(feature = "convolution")]
pub(super) fn conv_cost(op: &Conv, ConvKernel { of, tile }: ConvKernel, caps: &DeviceCaps) -> f64 {
    let (window, channels) = (op.window(), op.channels_per_group());
    let [taps, columns] = [window.taps(), window.kernel[2]];
    let rows = tile.rows as usize;
    // Tiles along rows don't continue in the next row.
    let pixels = match of {
        Loop::DepthwiseRow => {
            window.output_pixels() / window.output[2].max(1) * window.output[2].next_multiple_of(rows)
        }
        Loop::Vecs | Loop::Words | Loop::Grouped | Loop::Depthwise => window.output_pixels(),
    };
    let grid = Grid::new([op.batch() * pixels, op.weights().dims()[0]], tile, caps);
    let depthwise = |loads: f64| {
        grid.computed() * taps as f64 * (1.0 + DEPTHWISE_LOAD * loads + DEPTHWISE_TAP / f64::from(tile.rows))
    };
    match (of, tile.tiling) {
        (Loop::Vecs, Tiling::Workgroup(_)) => {
            CONV_WORKGROUP_PRODUCT * grid.products(taps * channels.next_multiple_of(16))
        }
        (Loop::Vecs, _) => CONV_PRODUCT * grid.products(taps * channels.next_multiple_of(16)),
        (Loop::Words, _) => CONV_WORDS_PRODUCT * grid.products(taps * channels.next_multiple_of(4)),
        (Loop::Grouped, _) => CONV_GROUPED_PRODUCT * grid.products(taps * channels.next_multiple_of(4)),
        (Loop::Depthwise, _) => depthwise(1.0),
        (Loop::DepthwiseRow, _) => {
            let span = ((rows - 1) * window.stride[2] + columns) as f64;
            depthwise(span / (rows * columns) as f64)
        }
    }
}

/// Cost of a launch in products: 5 us at 10^11 products per second, a rate between those of a CPU and a GPU.
const LAUNCH: f64 = 5e5;

/// Cost of unfolding one code by words and by bytes, in products.
const UNFOLD_IN_WORDS: f64 = 250.0;
const UNFOLD_IN_BYTES: f64 = 290.0;

/// Estimated cost of unfolding the patches of a convolution for a product of these sizes, and of the launches after the first.
#[cfg(feature = "convolution")]
pub(super) fn unfold_cost(op: &Conv, Sizes { m, k, .. }: Sizes, launches: usize) -> f64 {
    let each = if op.channels_per_group().is_multiple_of(4) { UNFOLD_IN_WORDS } else { UNFOLD_IN_BYTES };
    each * (m * k) as f64 + launches.saturating_sub(1) as f64 * LAUNCH
}
