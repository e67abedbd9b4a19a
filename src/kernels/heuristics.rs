//! The order in which candidates of products and convolutions are tried: lists of tiles, and estimated costs. Each factor is named
//! and was fitted on one driver, llvmpipe of Mesa 22.3.6 on two cores (benches/NOTES.md). `tune` measures a device's real times.

use super::DeviceCaps;
use super::conv::loops::{ConvKernel, Loop};
use super::gemm::coop;
use super::gemm::tiling::{Tile, Tiling};
use crate::ops::{Conv, Sizes};

/// The tiles of a loop, by the number of rows that they suit.
struct TileList {
    /// Many invocations, each with few columns: a product of one row is bound by reading weights.
    one_row: &'static [Tile],
    /// Each weight is read once for several rows.
    few_rows: &'static [Tile],
    /// As many sums in registers as fit, then tiles through workgroup memory.
    many_rows: &'static [Tile],
}

/// The tiles that are tried first.
enum First {
    OneRow,
    FewRows,
    ManyRows,
}

impl TileList {
    /// All tiles. Those whose subgroups share reads of rows follow those of one row and lead otherwise: if a device has them, reading
    /// rows costs next to nothing. They are given as rows and quads of an invocation.
    fn ordered(&self, first: First, broadcast: &[(u32, u32)], caps: &DeviceCaps) -> Vec<Tile> {
        let Self { one_row, few_rows, many_rows } = self;
        let lists = match first {
            First::OneRow => [one_row, few_rows, many_rows],
            First::FewRows => [few_rows, one_row, many_rows],
            First::ManyRows => [many_rows, few_rows, one_row],
        };
        let broadcast =
            broadcast.iter().map(|&(rows, quads)| Tile::subgroup_broadcast(caps.uniform_subgroup_size, rows, quads));
        broadcast.chain(lists.into_iter().flat_map(|tiles| tiles.iter().copied())).collect()
    }
}

const MATMUL: TileList = TileList {
    one_row: &[Tile::registers([8, 1], 1, 2), Tile::registers([32, 1], 1, 1)],
    few_rows: &[Tile::registers([32, 1], 4, 2), Tile::registers([16, 2], 2, 1)],
    many_rows: &[
        Tile::registers([8, 1], 8, 2),
        Tile::registers([8, 4], 8, 2),
        Tile::registers([8, 8], 4, 2),
        Tile::workgroup([8, 8], 4, 2, 2),
        Tile::double_buffered([8, 16], 4, 1, 2),
    ],
};

/// Split-k tiles of `MATMUL`, on devices that need many invocations. Other devices never win by them, and may compile them slowly.
const MATMUL_SPLIT_K: [Tile; 2] = [Tile::split_k([8, 32], 1, 1), Tile::split_k([16, 4], 4, 1)];

const FLOAT_MATMUL: TileList = TileList {
    one_row: &[Tile::registers([8, 1], 1, 2), Tile::split_k([8, 32], 1, 1), Tile::registers([32, 1], 1, 1)],
    few_rows: &[Tile::registers([8, 1], 8, 1), Tile::split_k([16, 4], 4, 1)],
    many_rows: &[
        Tile::registers([8, 1], 8, 2),
        Tile::registers([8, 1], 16, 2),
        Tile::registers([8, 8], 4, 2),
        Tile::double_buffered([16, 16], 4, 1, 2),
        Tile::workgroup([16, 8], 8, 2, 2),
    ],
};

const LINEAR: TileList = TileList {
    one_row: &[
        Tile::registers([32, 1], 1, 1),
        Tile::registers([8, 1], 1, 1),
        Tile::split_k([16, 8], 1, 1),
        Tile::split_k([8, 32], 1, 1),
    ],
    few_rows: &[Tile::registers([8, 1], 8, 1), Tile::registers([16, 1], 4, 1), Tile::split_k([16, 4], 4, 1)],
    many_rows: &[
        Tile::registers([8, 1], 8, 2),
        Tile::registers([8, 4], 8, 2),
        Tile::registers([8, 8], 8, 1),
        Tile::registers([16, 16], 4, 1),
    ],
};

/// The tiles of a product of integer codes with an output of these rows and columns, the best guess first.
pub(super) fn matmul_tiles([rows, columns]: [usize; 2], caps: &DeviceCaps) -> Vec<Tile> {
    let mut tiles = match rows {
        0..=1 => MATMUL.ordered(First::OneRow, &[], caps),
        2..=4 => MATMUL.ordered(First::FewRows, &[], caps),
        5..=8 => MATMUL.ordered(First::ManyRows, &[(8, 2)], caps),
        _ => MATMUL.ordered(First::ManyRows, &[(16, 1), (8, 2)], caps),
    };
    if caps.target_invocations > 1 {
        tiles.extend(MATMUL_SPLIT_K);
    }
    order_by_occupancy(&mut tiles, [rows, columns], caps);
    tiles.extend(coop::tiles(caps));
    tiles
}

/// The tiles of a product of floats with an output of these rows and columns, the best guess first.
pub(super) fn float_matmul_tiles([rows, columns]: [usize; 2], caps: &DeviceCaps) -> Vec<Tile> {
    let mut tiles = match rows {
        0..=1 => FLOAT_MATMUL.ordered(First::OneRow, &[], caps),
        2..=16 => FLOAT_MATMUL.ordered(First::FewRows, &[(8, 2)], caps),
        _ => FLOAT_MATMUL.ordered(First::ManyRows, &[(16, 1), (8, 2), (16, 2)], caps),
    };
    order_by_occupancy(&mut tiles, [rows, columns], caps);
    tiles
}

/// The tiles of a product of `codes` or floats with weights in groups, with an output of these rows and columns, the best guess
/// first.
pub(super) fn linear_tiles([rows, columns]: [usize; 2], codes: bool, caps: &DeviceCaps) -> Vec<Tile> {
    let mut tiles = match (rows, codes) {
        (0..=1, _) => LINEAR.ordered(First::OneRow, &[], caps),
        (2..=16, true) => LINEAR.ordered(First::FewRows, &[(8, 1), (8, 2)], caps),
        (2..=16, false) => LINEAR.ordered(First::FewRows, &[(8, 2), (8, 1)], caps),
        (_, true) => LINEAR.ordered(First::ManyRows, &[(16, 1), (8, 2)], caps),
        (_, false) => LINEAR.ordered(First::ManyRows, &[(16, 1), (8, 2), (16, 2)], caps),
    };
    order_by_occupancy(&mut tiles, [rows, columns], caps);
    tiles
}

/// Sorts tiles by occupancy, if there are few rows: then a product is bound by reading weights. Estimated time:
/// (rows of tiles) · max(1, target_invocations / invocations). The sort is stable.
fn order_by_occupancy(tiles: &mut [Tile], [rows, columns]: [usize; 2], caps: &DeviceCaps) {
    /// With more rows, arithmetic takes longer than reading weights.
    const FEW_ROWS: usize = 16;
    if caps.target_invocations <= 1 || rows > FEW_ROWS {
        return;
    }
    let time = |tile: &Tile| {
        let down = rows.div_ceil(tile.rows as usize).max(1);
        let across = columns.div_ceil(4 * tile.quads as usize).max(1);
        let invocations = down * across * tile.slices() as usize;
        down as f64 * (f64::from(caps.target_invocations) / invocations as f64).max(1.0)
    };
    tiles.sort_by(|a, b| time(a).total_cmp(&time(b)));
}

/// The loops and tiles of a convolution. [`conv_cost`] orders them.
pub(super) fn conv_kernels(op: &Conv, caps: &DeviceCaps) -> Vec<ConvKernel> {
    let kernel = |of: Loop, group, pixels, quads| ConvKernel::new(of, Tile::registers(group, pixels, quads));
    let vecs = |group, pixels, quads| kernel(Loop::Vecs, group, pixels, quads);
    let (channels, outputs) = (op.channels_per_group(), op.outputs_per_group());
    let mut kernels = Vec::new();
    if channels == 1 && op.groups() > 1 {
        if Loop::row_window(op).is_some() {
            kernels.push(kernel(Loop::DepthwiseRow, [8, 8], 4, 1));
        }
        kernels.extend([([8, 8], 4), ([16, 4], 1)].map(|(group, pixels)| kernel(Loop::Depthwise, group, pixels, 1)));
    }
    // The loops by words skip the padding of the last vec4.
    let by_words = [([8, 4], 8), ([8, 8], 4)].map(|(group, pixels)| kernel(Loop::Words, group, pixels, 2));
    let by_vecs = [
        vecs([8, 4], 8, 2),
        vecs([8, 8], 4, 2),
        vecs([8, 8], 2, 1),
        ConvKernel::new(Loop::Vecs, Tile::double_buffered([8, 8], 4, 2, 2)),
    ];
    if op.groups() == 1 && channels <= 4 {
        kernels.extend(by_words.into_iter().chain(by_vecs));
    } else if op.groups() == 1 {
        // Invocations that share pixels must own the same group of channels.
        let broadcast = |(pixels, quads)| Tile::subgroup_broadcast(caps.uniform_subgroup_size, pixels, quads);
        kernels.extend([(16, 1), (8, 2)].map(broadcast).map(|tile| ConvKernel::new(Loop::Vecs, tile)));
        kernels.extend(by_vecs);
        kernels.extend(by_words.into_iter().filter(|_| matches!(channels % 16, 1..=12)));
    } else if channels.is_multiple_of(16) && outputs.is_multiple_of(8) {
        kernels.extend([vecs([8, 4], 8, 2), vecs([8, 8], 4, 2), vecs([8, 8], 2, 1)]);
    } else if channels.is_multiple_of(16) && outputs.is_multiple_of(4) {
        kernels.extend([vecs([8, 8], 4, 1), vecs([8, 8], 2, 1)]);
    }
    kernels.push(kernel(Loop::Grouped, [8, 8], 1, 1));
    if kernels.len() == 1 {
        kernels.push(kernel(Loop::Grouped, [32, 1], 1, 1));
    }
    kernels
}

/// Candidates ordered by estimated cost, the cheapest first. Equal ones keep their order.
pub(super) fn cheapest_first<T>(mut candidates: Vec<(f64, T)>) -> Vec<T> {
    candidates.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
}

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
        // 32 on most devices that don't report it.
        let lanes = if caps.uniform_subgroup_size > 0 { caps.uniform_subgroup_size } else { 32 };
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
pub(super) fn unfold_cost(op: &Conv, Sizes { m, k, .. }: Sizes, launches: usize) -> f64 {
    let each = if op.channels_per_group().is_multiple_of(4) { UNFOLD_IN_WORDS } else { UNFOLD_IN_BYTES };
    each * (m * k) as f64 + launches.saturating_sub(1) as f64 * LAUNCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_cut_along_k_where_a_device_needs_many_invocations() {
        let tiles = [Tile::registers([32, 1], 1, 1), Tile::split_k([16, 4], 4, 1), Tile::split_k([8, 32], 1, 1)];
        let first = |sizes, target_invocations| {
            let mut tiles = tiles;
            order_by_occupancy(&mut tiles, sizes, &DeviceCaps { target_invocations, ..DeviceCaps::default() });
            tiles[0]
        };
        assert_eq!(first([1, 4096], 1), tiles[0], "a CPU needs one");
        assert_eq!(first([1, 4096], 1 << 15), tiles[2], "1,024 invocations own a quad each");
        assert_eq!(first([1, 1 << 17], 1 << 15), tiles[0], "there are as many quads");
        assert_eq!(first([8, 4096], 1 << 15), tiles[1], "weights are read twice, not eight times");
        assert_eq!(first([17, 4096], 1 << 15), tiles[0], "many rows are bound by arithmetic");
    }
}
