//! A model of the time of a launch: issue slots, waves, latency, and bytes through caches and memory. It says which of two kernels
//! is faster on a GPU that isn't there; its absolute times are no measurement.

use crate::aco::Loop;
use crate::cases::Work;
use crate::device::Code;

/// A GPU by its data sheet. All of them multiply four bytes in one instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gpu {
    /// Words in the driver's name of the device.
    pub names: &'static [&'static str],
    /// Units that issue one vector instruction at a time.
    schedulers: f64,
    gigahertz: f64,
    /// Bytes in a nanosecond from device memory and from the last cache before it.
    memory: f64,
    cache: f64,
    /// Cycles until a load from device memory returns.
    latency: f64,
    /// Cycles that an instruction of 32 lanes takes.
    cycles: f64,
}

pub(crate) const GPUS: [Gpu; 3] = [
    Gpu {
        names: &["NAVI31", "GFX1100"],
        schedulers: 192.0,
        gigahertz: 2.4,
        memory: 960.0,
        cache: 4_500.0,
        latency: 600.0,
        cycles: 1.0,
    },
    Gpu {
        names: &["NAVI21"],
        schedulers: 160.0,
        gigahertz: 2.2,
        memory: 512.0,
        cache: 3_500.0,
        latency: 550.0,
        cycles: 1.0,
    },
    Gpu {
        names: &["VEGA20"],
        schedulers: 240.0,
        gigahertz: 1.7,
        memory: 1_024.0,
        cache: 2_500.0,
        latency: 600.0,
        cycles: 2.0,
    },
];

/// Cycles of a wave beside its loop: finding its place, entries of columns, the output stage.
const OVERHEAD: f64 = 4_000.0;
/// Cycles of a round that adds the sums of slices, and of waiting for a barrier.
const SLICE: f64 = 90.0;
const BARRIER: f64 = 150.0;
/// Microseconds of a further launch.
const LAUNCH: f64 = 5.0;

/// The shape of a launch, from the constants of its program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub groups: f64,
    pub group: [f64; 2],
    tile: [f64; 2],
    slices: f64,
    /// Vectors along k that are staged at a time, 0 without staging.
    staged: f64,
    /// Steps of a turn whose weights are read together.
    steps: f64,
}

impl Shape {
    /// `name` is the program's: its parts, then its constants as `NAME=value`.
    pub(crate) fn new(name: &str, grid: [u32; 3]) -> Self {
        let constant = |of: &str, otherwise: f64| {
            let value = name.split_whitespace().find_map(|word| word.strip_prefix(of)?.strip_prefix('=')?.parse().ok());
            value.unwrap_or(otherwise)
        };
        Self {
            groups: grid.iter().map(|&groups| f64::from(groups)).product(),
            group: [constant("GROUP_X", 1.0), constant("GROUP_Y", 1.0)],
            tile: [constant("TILE_M", 1.0), 4.0 * constant("TILE_Q", 1.0)],
            slices: constant("SLICES", 1.0),
            staged: constant("STEP", 0.0),
            steps: constant("STEPS", 1.0),
        }
    }

    fn invocations(self) -> f64 {
        self.group[0] * self.group[1]
    }

    /// Part of the lanes of its waves that have work.
    pub(crate) fn lanes_used(self, code: &Code) -> f64 {
        let lanes = f64::from(code.lanes.max(1));
        self.invocations() / ((self.invocations() / lanes).ceil() * lanes)
    }

    pub(crate) fn waves(self, code: &Code) -> f64 {
        self.groups * (self.invocations() / f64::from(code.lanes.max(1))).ceil()
    }
}

/// Microseconds of a launch with products.
pub(crate) fn product_time(gpu: &Gpu, work: Work, shape: Shape, code: &Code, hot: Loop) -> f64 {
    let slots = f64::from(hot.slots()) + 4.0 * f64::from(hot.workgroup);
    let cycles = slots * gpu.cycles * f64::from(code.lanes) / 32.0;
    // Codes along k of one turn: loops over steps and over staged vectors may be written out, and some take a word at a time.
    let products = f64::from(if hot.dots > 0 { 4 * hot.dots } else { hot.fmas });
    let written = (products / (shape.tile[0] * shape.tile[1])).log2().floor().exp2();
    let step = written.min(work.step as f64 * shape.staged.max(shape.steps));
    let turns = (work.k as f64 / step / shape.slices).ceil();
    let waves = shape.waves(code) / gpu.schedulers;
    let resident = code.statistic(&["Subgroups per SIMD"]).min(waves.ceil()).max(1.0);
    let rounds = (waves / resident).max(1.0);
    let rounds = if rounds < 4.0 { rounds.ceil() } else { rounds };
    let latency = if shape.staged > 0.0 {
        (gpu.latency + BARRIER) * step / (work.step as f64 * shape.staged)
    } else {
        gpu.latency
    };
    let joined = (SLICE + BARRIER) * shape.slices.log2();
    let turn = (resident * cycles).max(latency + cycles);
    let busy = rounds * (turns * turn + OVERHEAD + joined) / gpu.gigahertz / 1e3;

    let [weight, lhs] = work.bits.map(|bits| bits as f64 / 8.0);
    let (rows, columns, k) = (work.rows as f64, work.columns as f64, work.k as f64);
    let memory = (columns * k * weight + rows * k * lhs + rows * columns * 4.0) / gpu.memory / 1e3;
    let [x, y] = shape.group;
    let along_y = if shape.slices > 1.0 { 1.0 } else { y };
    let read = x * shape.tile[1] * weight + along_y * shape.tile[0] * lhs;
    let cache = shape.groups * read * k / gpu.cache / 1e3;
    busy.max(memory).max(cache)
}

/// Microseconds of a launch that moves the rows of a product.
pub(crate) fn moving_time(gpu: &Gpu, work: Work) -> f64 {
    LAUNCH + 2.0 * (work.rows * work.k * work.bits[1] / 8) as f64 / gpu.memory / 1e3
}
