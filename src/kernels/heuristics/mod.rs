//! The order in which candidates of products and convolutions are tried: lists of tiles, and estimated costs. On a CPU
//! (`target_invocations` is 1) lists are in the order that was measured, and `cpu` orders loops of convolutions. On a GPU the
//! estimate in `gpu` orders all. `tune` measures a device's real times.

mod cpu;
mod gpu;

use super::DeviceCaps;
#[cfg(feature = "convolution")]
use super::conv::loops::{ConvKernel, Loop};
use super::gemm::coop;
use super::gemm::tiling::Tile;
use crate::numeric::{DType, sort_indices_by};
#[cfg(feature = "convolution")]
use crate::ops::Conv;
use crate::ops::Sizes;
use gpu::{Turn, Work};

/// The tiles of a loop, by the number of rows that they suit, each list in the order of a CPU.
struct TileList {
    /// Many invocations, each with few columns: a product of one row is bound by reading weights.
    one_row: &'static [Tile],
    /// Each weight is read once for several rows.
    few_rows: &'static [Tile],
    /// As many sums in registers as fit, then tiles through workgroup memory.
    many_rows: &'static [Tile],
    /// Further tiles of GPUs: whole subgroups side by side, and slices of k. CPUs never win by them, and may compile them slowly.
    gpu: &'static [Tile],
}

/// The tiles that are tried first.
enum First {
    OneRow,
    FewRows,
    ManyRows,
}

impl TileList {
    /// The tiles of a CPU. Those whose subgroups share reads of rows follow those of one row and lead otherwise: if a device has
    /// them, reading rows costs next to nothing. They are given as rows and quads of an invocation.
    fn of_cpu(&self, first: First, broadcast: &[(u32, u32)], caps: &DeviceCaps) -> Vec<Tile> {
        let Self { one_row, few_rows, many_rows, .. } = self;
        let lists = match first {
            First::OneRow => [one_row, few_rows, many_rows],
            First::FewRows => [few_rows, one_row, many_rows],
            First::ManyRows => [many_rows, few_rows, one_row],
        };
        subgroup_tiles(broadcast, caps).chain(lists.into_iter().flat_map(|tiles| tiles.iter().copied())).collect()
    }

    /// All tiles, by estimated time.
    fn of_gpu(&self, broadcast: &[(u32, u32)], work: Work, caps: &DeviceCaps) -> Vec<Tile> {
        let Self { one_row, few_rows, many_rows, gpu } = self;
        let lists = [many_rows, few_rows, one_row, gpu].into_iter().flat_map(|tiles| tiles.iter().copied());
        let tiles = lists.chain(subgroup_tiles(broadcast, caps));
        cheapest_first(tiles.map(|tile| (gpu::product_time(work, tile, caps), tile)).collect())
    }
}

/// None if subgroups vary in size.
fn subgroup_tiles(rows_and_quads: &[(u32, u32)], caps: &DeviceCaps) -> impl Iterator<Item = Tile> {
    let lanes = caps.uniform_subgroup_size;
    let some = if lanes > 0 { rows_and_quads } else { &[] };
    some.iter().map(move |&(rows, quads)| Tile::subgroup_broadcast(lanes, rows, quads))
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
    gpu: &[
        Tile::split_k([8, 32], 1, 1),
        Tile::split_k([16, 4], 4, 1),
        Tile::split_k([8, 8], 8, 1),
        Tile::split_k([8, 16], 8, 1),
        Tile::registers([32, 1], 8, 1),
        Tile::registers([64, 1], 8, 1),
        Tile::registers([32, 4], 4, 1),
        Tile::double_buffered([16, 8], 8, 2, 2),
        Tile::workgroup([16, 16], 8, 2, 2),
    ],
};

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
    gpu: &[
        Tile::split_k([8, 8], 8, 1),
        Tile::split_k([8, 16], 8, 1),
        Tile::registers([64, 1], 8, 1),
        Tile::registers([32, 4], 4, 1),
        Tile::double_buffered([16, 16], 8, 2, 2),
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
    gpu: &[
        Tile::split_k([8, 16], 4, 1),
        Tile::split_k([8, 8], 4, 1),
        Tile::registers([32, 1], 8, 1),
        Tile::registers([64, 1], 8, 1),
        Tile::registers([64, 1], 4, 1),
    ],
};

/// The tiles of `batches` products of integer codes with weights of some bits, the best guess first.
pub(super) fn matmul_tiles(sizes: Sizes, batches: usize, weight_bits: usize, caps: &DeviceCaps) -> Vec<Tile> {
    let mut tiles = match sizes.m {
        _ if caps.is_gpu() => {
            let work = Work { sizes, batches, turn: Turn::codes(weight_bits) };
            MATMUL.of_gpu(&[(16, 1), (8, 2)], work, caps)
        }
        0..=1 => MATMUL.of_cpu(First::OneRow, &[], caps),
        2..=4 => MATMUL.of_cpu(First::FewRows, &[], caps),
        5..=8 => MATMUL.of_cpu(First::ManyRows, &[(8, 2)], caps),
        _ => MATMUL.of_cpu(First::ManyRows, &[(16, 1), (8, 2)], caps),
    };
    tiles.extend(coop::tiles(caps));
    tiles
}

/// The tiles of `batches` products of floats, the best guess first. `lhs` and `rhs` are the types of their elements.
pub(super) fn float_matmul_tiles(sizes: Sizes, batches: usize, [lhs, rhs]: [DType; 2], caps: &DeviceCaps) -> Vec<Tile> {
    match sizes.m {
        _ if caps.is_gpu() => {
            let turn = Turn::floats([lhs, rhs].map(|dtype| dtype.bits() as f64 / 8.0));
            FLOAT_MATMUL.of_gpu(&[(16, 1), (8, 2), (16, 2)], Work { sizes, batches, turn }, caps)
        }
        0..=1 => FLOAT_MATMUL.of_cpu(First::OneRow, &[], caps),
        2..=16 => FLOAT_MATMUL.of_cpu(First::FewRows, &[(8, 2)], caps),
        _ => FLOAT_MATMUL.of_cpu(First::ManyRows, &[(16, 1), (8, 2), (16, 2)], caps),
    }
}

/// Columns up to which a product of one row has narrow workgroups on a CPU: eight wide ones.
const NARROW: usize = 1024;

/// The tiles of a product of codes or floats with weights of some bits in groups, the best guess first.
/// `symmetric`: codes of lhs have no zero points.
pub(super) fn linear_tiles(
    sizes: Sizes,
    lhs: DType,
    weight_bits: usize,
    symmetric: bool,
    caps: &DeviceCaps,
) -> Vec<Tile> {
    match (sizes.m, lhs.is_8_bit()) {
        _ if caps.is_gpu() => {
            let work = Work { sizes, batches: 1, turn: Turn::grouped(weight_bits, lhs.bits(), symmetric) };
            LINEAR.of_gpu(&[(16, 1), (8, 1), (8, 2)], work, caps)
        }
        (0..=1, _) => {
            let mut tiles = LINEAR.of_cpu(First::OneRow, &[], caps);
            if sizes.n <= NARROW {
                // Few wide workgroups would leave a core idle.
                tiles.sort_by_key(|&tile| tile != Tile::registers([8, 1], 1, 1));
            }
            tiles
        }
        (2..=16, true) => LINEAR.of_cpu(First::FewRows, &[(8, 1), (8, 2)], caps),
        (2..=16, false) => LINEAR.of_cpu(First::FewRows, &[(8, 2), (8, 1)], caps),
        (_, true) => LINEAR.of_cpu(First::ManyRows, &[(16, 1), (8, 2)], caps),
        (_, false) => LINEAR.of_cpu(First::ManyRows, &[(16, 1), (8, 2), (16, 2)], caps),
    }
}

/// The tiles of a layer and its gate, whose invocations have a quad of columns of each: those of [`linear_tiles`] for the columns of
/// both, with two quads.
pub(super) fn gated_tiles(
    sizes: Sizes,
    lhs: DType,
    weight_bits: usize,
    symmetric: bool,
    caps: &DeviceCaps,
) -> Vec<Tile> {
    let mut tiles: Vec<Tile> = Vec::new();
    for tile in linear_tiles(sizes, lhs, weight_bits, symmetric, caps) {
        let tile = Tile { quads: 2, ..tile };
        if !tiles.contains(&tile) && tile.rows <= 8 {
            tiles.push(tile);
        }
    }
    if caps.is_gpu() {
        let work = Work { sizes, batches: 1, turn: Turn::grouped(weight_bits, lhs.bits(), symmetric) };
        tiles = cheapest_first(tiles.into_iter().map(|tile| (gpu::product_time(work, tile, caps), tile)).collect());
    }
    tiles
}

/// The loops and tiles of a convolution. [`conv_cost`] orders them.
#[cfg(feature = "convolution")]
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
        kernels.extend(subgroup_tiles(&[(16, 1), (8, 2)], caps).map(|tile| ConvKernel::new(Loop::Vecs, tile)));
        kernels.extend(by_vecs);
        if caps.is_gpu() {
            kernels.push(vecs([16, 4], 4, 1));
        }
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
pub(super) fn cheapest_first<T>(candidates: Vec<(f64, T)>) -> Vec<T> {
    let (costs, candidates): (Vec<f64>, Vec<T>) = candidates.into_iter().unzip();
    let mut order: Vec<usize> = (0..costs.len()).collect();
    sort_indices_by(&mut order, &|a, b| costs[a].total_cmp(&costs[b]));
    let mut candidates: Vec<Option<T>> = candidates.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| candidates[i].take()).collect()
}

/// Estimated cost of a kernel of a convolution.
#[cfg(feature = "convolution")]
pub(super) fn conv_cost(op: &Conv, kernel: ConvKernel, caps: &DeviceCaps) -> f64 {
    if caps.is_gpu() { gpu::conv_time(op, kernel, caps) } else { cpu::conv_cost(op, kernel, caps) }
}

/// Estimated cost of a product of integer codes that computes a convolution, in the unit of [`conv_cost`].
pub(super) fn matmul_cost(sizes: Sizes, weight_bits: usize, tile: Tile, caps: &DeviceCaps) -> f64 {
    if caps.is_gpu() {
        gpu::product_time(Work { sizes, batches: 1, turn: Turn::codes(weight_bits) }, tile, caps)
    } else {
        cpu::matmul_cost(sizes, tile, caps)
    }
}

/// Estimated cost of unfolding the patches of a convolution for a product of these sizes, and of the launches after the first.
#[cfg(feature = "convolution")]
pub(super) fn unfold_cost(op: &Conv, sizes: Sizes, launches: usize, caps: &DeviceCaps) -> f64 {
    if caps.is_gpu() { gpu::unfold_time(sizes, launches, caps) } else { cpu::unfold_cost(op, sizes, launches) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(m: usize, n: usize, weight_bits: usize, caps: &DeviceCaps) -> Tile {
        matmul_tiles(Sizes { m, n, k: 4096 }, 1, weight_bits, caps)[0]
    }

    #[test]
    fn a_gpu_reads_weights_of_few_rows_once() {
        let caps = DeviceCaps { workgroup_bytes: 32 << 10, ..DeviceCaps::default() };
        assert_eq!(first(1, 4096, 8, &caps).slices(), 32, "1,024 invocations own a quad each");
        let eight = first(8, 4096, 8, &caps);
        assert!(eight.rows == 8 && eight.slices() > 1, "{eight:?}");
        let caps = DeviceCaps { target_invocations: 1, ..caps };
        assert_eq!(first(1, 4096, 8, &caps).slices(), 1, "a CPU needs one invocation");
    }

    #[test]
    fn the_first_guess_of_a_gpu_leaves_no_lane_idle() {
        for lanes in [32, 64] {
            let caps = DeviceCaps { lanes, ..DeviceCaps::default() };
            for (m, n) in [1, 2, 7, 16, 40, 128, 1000].into_iter().flat_map(|m| [256, 1000, 4096].map(|n| (m, n))) {
                let sizes = Sizes { m, n, k: 4096 };
                let tiles = [
                    matmul_tiles(sizes, 1, 8, &caps)[0],
                    matmul_tiles(sizes, 3, 4, &caps)[0],
                    float_matmul_tiles(sizes, 1, [DType::Float32; 2], &caps)[0],
                    linear_tiles(sizes, DType::Int8, 4, true, &caps)[0],
                    linear_tiles(sizes, DType::Float16, 4, true, &caps)[0],
                ];
                for tile in tiles {
                    assert!((tile.group[0] * tile.group[1]).is_multiple_of(lanes), "{m} x {n}: {tile:?}");
                }
            }
        }
    }
}
