//! The estimated time of kernels on a GPU, in cycles of one scheduler (a unit that issues an instruction of a wave in a cycle). The
//! counts of instructions and registers are those of Mesa's compiler for AMD GPUs; `examples/codegen` prints them, and compares
//! the first guess with the best candidate by a model of real GPUs.
//!
//! A wave is one subgroup. A scheduler takes `waves / schedulers` waves, of which some are resident at a time. One turn of the loop
//! takes the issue slots of all resident waves, or the latency of a load if there are too few of them:
//!
//! ```text
//! time = max( rounds · (turns · max(resident · cycles, LATENCY + cycles) + OVERHEAD),
//!             bytes of weights / memory,  bytes that workgroups load / cache )
//! ```

use super::super::DeviceCaps;
#[cfg(feature = "convolution")]
use super::super::conv::loops::{ConvKernel, Loop};
use super::super::gemm::tiling::{Tile, Tiling};
#[cfg(feature = "convolution")]
use crate::ops::Conv;
use crate::ops::Sizes;

/// Cycles until a load from device memory returns.
const LATENCY: f64 = 600.0;

/// Cycles of a wave outside its loop.
const OVERHEAD: f64 = 4_000.0;

/// Cycles of a round that adds the sums of slices, and of a barrier.
const SLICE: f64 = 90.0;
const BARRIER: f64 = 150.0;

/// The part of the slots of rows that remains where all lanes of a wave read the same rows: compilers use scalar units.
const UNIFORM_ROWS: f64 = 0.1;

/// Issue slots of an access to workgroup memory, of staging a vector, of a value that subgroups broadcast, and of a register that
/// does not fit.
const WORKGROUP_ACCESS: f64 = 4.0;
const STAGING: f64 = 25.0;
const BROADCAST: f64 = 1.0;
const SPILL: f64 = 8.0;

/// The part of the arithmetic that loads don't hide.
const EXPOSED: f64 = 0.1;

/// Cycles of a further launch: 5 us at 2 GHz.
const LAUNCH: f64 = 10_000.0;

/// The units of a device that run waves, as far as the sizes of subgroups tell it.
#[derive(Debug, Clone, Copy)]
struct Scheduler {
    /// Cycles of an instruction of a wave.
    cycles: f64,
    /// Registers for each lane, which resident waves share.
    registers: f64,
    /// Registers of an invocation beyond which compilers spill.
    most: f64,
    /// Whether rows that all lanes of a wave read take no registers of the lanes.
    scalar_rows: bool,
    /// Issue slots of a dot product of four bytes.
    dot: f64,
    /// Numbers of schedulers of common devices, at the default of `target_invocations`.
    numbers: &'static [f64],
    /// Bytes in a cycle, for each scheduler, from device memory and from the cache that workgroups share.
    memory: f64,
    cache: f64,
}

impl Scheduler {
    fn of(caps: &DeviceCaps) -> Self {
        match (caps.uniform_subgroup_size, caps.lanes) {
            // AMD before RDNA: a wave of 64 lanes takes four cycles, and four waves of 64 registers are resident.
            (64, _) => Self {
                cycles: 4.0,
                registers: 256.0,
                most: 256.0,
                scalar_rows: true,
                dot: 1.0,
                numbers: &[240.0],
                memory: 2.5,
                cache: 6.0,
            },
            // RDNA and others that divide 64 lanes.
            (_, 64..) => Self {
                cycles: 2.0,
                registers: 1_024.0,
                most: 128.0,
                scalar_rows: true,
                dot: 1.0,
                numbers: &[160.0, 192.0],
                memory: 1.8,
                cache: 10.0,
            },
            // NVIDIA, Intel, Apple. An H200 takes 2.3 slots for a dot product. Sizes vary on Intel's only, which have no scalar unit.
            (size, _) => Self {
                cycles: 1.0,
                registers: 512.0,
                most: 128.0,
                scalar_rows: size > 0,
                dot: 2.0,
                numbers: &[128.0, 288.0, 528.0],
                memory: 1.5,
                cache: 5.0,
            },
        }
    }

    /// The mean of a time over the numbers of schedulers. A device counts as much as others, however fast it is.
    fn mean(self, caps: &DeviceCaps, time: impl Fn(f64) -> f64) -> f64 {
        // The device's size relative to the common ones of its kind.
        let share = f64::from(caps.target_invocations) / f64::from(DeviceCaps::default().target_invocations);
        let work: f64 = self.numbers.iter().map(|number| number * time(number * share)).sum();
        work / self.numbers.iter().sum::<f64>()
    }
}

/// One turn of a loop: its issue slots and registers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Codes or floats along k.
    codes: f64,
    /// Slots of the turn itself, and for each row, column and output of an invocation, without dot products.
    fixed: f64,
    row: f64,
    column: f64,
    output: f64,
    /// Dot products for each output.
    dots: f64,
    /// Registers for each row, column and output, beside a constant number.
    registers: [f64; 3],
    /// Bytes of a code of lhs and of a weight.
    bytes: [f64; 2],
}

/// Registers of addresses and counters.
const BASE_REGISTERS: f64 = 20.0;

impl Turn {
    /// Products of bytes with weights of some bits, sixteen codes at a time.
    pub(super) fn codes(weight_bits: usize) -> Self {
        // Narrow weights are stored plus a constant, so the codes of lhs are summed; their columns are expanded.
        let [row, column] = match weight_bits {
            8 => [1.0, 1.0],
            4 => [5.0, 7.0],
            _ => [5.0, 9.0],
        };
        let bytes = [1.0, weight_bits as f64 / 8.0];
        Self { codes: 16.0, fixed: 10.0, row, column, output: 0.0, dots: 4.0, registers: [4.0, 2.0, 1.0], bytes }
    }

    /// Products of floats, four at a time.
    pub(super) fn floats(bytes: [f64; 2]) -> Self {
        let registers = [4.0, 2.0, 1.0];
        Self { codes: 4.0, fixed: 14.0, row: 1.0, column: 1.0, output: 4.0, dots: 0.0, registers, bytes }
    }

    /// Products of codes or floats with weights in groups, 32 at a time. `symmetric`: lhs has no zero point.
    pub(super) fn grouped(weight_bits: usize, lhs_bits: usize, symmetric: bool) -> Self {
        // Narrow codes are expanded to bytes. Codes of a column are summed for the zero points of rows.
        let expanded = if weight_bits == 8 { 0.0 } else { 12.0 };
        let [summed, corrected] = if symmetric { [0.0; 2] } else { [8.0, 1.0] };
        let bytes = [lhs_bits as f64 / 8.0, weight_bits as f64 / 8.0];
        let of_codes = Self {
            codes: 32.0,
            fixed: 12.0,
            row: 16.0,
            column: expanded + summed + 6.0,
            output: 2.0 + corrected,
            dots: 8.0,
            registers: [12.0, 8.0, 1.0],
            bytes,
        };
        // Each code becomes a float.
        if lhs_bits == 8 { of_codes } else { Self { row: 24.0, column: 65.0, output: 33.0, dots: 0.0, ..of_codes } }
    }

    /// A loop of convolutions that finds its taps. `None` for depthwise convolutions, whose loops have no columns.
    #[cfg(feature = "convolution")]
    fn of_conv(of: Loop, weight_bits: usize) -> Option<Self> {
        let codes = Self::codes(weight_bits);
        match of {
            Loop::Vecs => Some(Self { row: codes.row + 5.0, registers: [13.0, 2.0, 1.0], ..codes }),
            Loop::Words => Some(Self { codes: 4.0, fixed: 12.0, row: 8.0, column: 2.0, dots: 1.0, ..codes }),
            Loop::Grouped => {
                Some(Self { codes: 4.0, fixed: 0.0, row: 0.0, column: 0.0, output: 24.0, dots: 0.0, ..codes })
            }
            Loop::Depthwise | Loop::DepthwiseRow => None,
        }
    }
}

/// A product: the rows, columns and k of its output, the number of such outputs, and its loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub sizes: Sizes,
    pub batches: usize,
    pub turn: Turn,
}

/// Workgroups and waves of an output of some rows and columns in tiles.
fn launched(tile: Tile, [m, n]: [usize; 2], batches: usize, caps: &DeviceCaps) -> [f64; 2] {
    let [rows, columns] = tile.block();
    let groups = (batches * m.div_ceil(rows) * n.div_ceil(columns)).max(1) as f64;
    [groups, groups * f64::from((tile.group[0] * tile.group[1]).div_ceil(caps.lanes.max(1)))]
}

/// The loops of a scheduler's waves: their turns, with the slots, registers and latency of one.
#[derive(Debug, Clone, Copy)]
struct Turns {
    count: f64,
    slots: f64,
    registers: f64,
    latency: f64,
}

/// Estimated cycles of a scheduler that takes `waves` waves.
fn busy(scheduler: Scheduler, waves: f64, turns: Turns) -> f64 {
    let Turns { count, slots, registers, latency } = turns;
    let cycles = (slots + SPILL * (registers - scheduler.most).max(0.0)) * scheduler.cycles;
    let most = (scheduler.registers / registers).floor().clamp(1.0, 16.0);
    let waves = waves.max(1.0);
    let resident = waves.ceil().min(most);
    let rounds = waves / resident;
    // With few rounds the last one is as long as the others.
    let rounds = if rounds < 4.0 { rounds.ceil() } else { rounds };
    rounds * (count * (resident * cycles).max(latency + cycles) + OVERHEAD)
}

/// Estimated cycles of a product in tiles.
pub(super) fn product_time(work: Work, tile: Tile, caps: &DeviceCaps) -> f64 {
    let Work { sizes: Sizes { m, n, k }, batches, turn } = work;
    let [groups, waves] = launched(tile, [m, n], batches, caps);
    let (rows, columns) = (f64::from(tile.rows), f64::from(4 * tile.quads));
    let slices = f64::from(tile.slices());
    let count = (k as f64 / turn.codes / slices).ceil();
    let scheduler = Scheduler::of(caps);

    let vecs = (turn.codes * turn.bytes[0] / 16.0).max(1.0);
    // Steps whose weights are loaded at once.
    let steps = f64::from(tile.steps((turn.codes * turn.bytes[1] / 4.0) as u32));
    let uniform = tile.group[1] == 1 && tile.group[0] >= caps.lanes;
    let row = if uniform { turn.row * UNIFORM_ROWS } else { turn.row };
    let row_registers = if uniform && scheduler.scalar_rows { 0.0 } else { turn.registers[0] };
    let output = turn.output + turn.dots * scheduler.dot;
    let slots = turn.fixed + rows * row + columns * turn.column + rows * columns * output;
    let (slots, latency) = match tile.tiling {
        Tiling::Registers | Tiling::SplitK => (slots, LATENCY / steps),
        Tiling::SubgroupBroadcast => (slots + BROADCAST * 4.0 * vecs * rows, LATENCY),
        // A step is loaded at once, and its latency is shared by its turns.
        Tiling::Workgroup(staging) => {
            let accesses = WORKGROUP_ACCESS * vecs * (rows + columns);
            (slots + STAGING + accesses, (LATENCY + BARRIER) / f64::from(staging.step))
        }
        // Sums of codes go through f16 products, which some devices do as slowly as dots. Tried last, until measured.
        Tiling::CoopMatrix => (16.0 * slots, LATENCY),
    };
    let [_, of_column, of_output] = turn.registers;
    let registers = BASE_REGISTERS + rows * row_registers + columns.min(8.0) * of_column + rows * columns * of_output;
    let joined = (SLICE + BARRIER) * slices.log2();
    let turns = Turns { count, slots, registers, latency };

    let [lhs, weight] = turn.bytes;
    let weights = batches.max(1) as f64 * (n * k) as f64 * weight;
    let [block_rows, block_columns] = tile.block();
    let loaded = groups * k as f64 * (block_rows as f64 * lhs + block_columns as f64 * weight);
    scheduler.mean(caps, |number| {
        let busy = busy(scheduler, waves / number, turns) + joined;
        busy.max(weights / scheduler.memory / number).max(loaded / scheduler.cache / number) + EXPOSED * busy
    })
}

/// Slots of a depthwise loop for each tap and quad of channels: of a pixel, and shared by the pixels of an invocation.
const DEPTHWISE_PIXEL: f64 = 26.0;
const DEPTHWISE_TAP: f64 = 7.0;
/// The part of them that remains where a row of taps is read at once.
const ROW_OF_TAPS: f64 = 0.68;

/// Estimated cycles of a convolution.
#[cfg(feature = "convolution")]
pub(super) fn conv_time(op: &Conv, ConvKernel { of, tile }: ConvKernel, caps: &DeviceCaps) -> f64 {
    let (window, n) = (op.window(), op.weights().dims()[0]);
    let (taps, channels) = (window.taps(), op.channels_per_group());
    let m = op.batch() * window.output_pixels();
    if let Some(turn) = Turn::of_conv(of, op.weights().dtype().bits()) {
        let k = taps * channels.next_multiple_of(turn.codes as usize);
        return product_time(Work { sizes: Sizes { m, n, k }, batches: 1, turn }, tile, caps);
    }
    let rows = tile.rows as usize;
    // Tiles along rows don't continue in the next row.
    let (pixels, share) = match of {
        Loop::DepthwiseRow => (m / window.output[2].max(1) * window.output[2].next_multiple_of(rows), ROW_OF_TAPS),
        _ => (m, 1.0),
    };
    let [_, waves] = launched(tile, [pixels, n], 1, caps);
    let slots = share * (DEPTHWISE_PIXEL * rows as f64 + DEPTHWISE_TAP);
    let registers = BASE_REGISTERS + 12.0 * rows as f64;
    let turns = Turns { count: taps as f64, slots, registers, latency: LATENCY * share };
    let scheduler = Scheduler::of(caps);
    scheduler.mean(caps, |number| busy(scheduler, waves / number, turns))
}

/// Estimated cycles of unfolding the patches of a convolution for a product of these sizes, and of the launches after the first.
/// Each code is read, placed by arithmetic that takes as long as moving two bytes, and written.
#[cfg(feature = "convolution")]
pub(super) fn unfold_time(Sizes { m, k, .. }: Sizes, launches: usize, caps: &DeviceCaps) -> f64 {
    let scheduler = Scheduler::of(caps);
    let unfolded = scheduler.mean(caps, |number| 4.0 * (m * k) as f64 / scheduler.memory / number);
    unfolded + launches.saturating_sub(1) as f64 * LAUNCH
}
