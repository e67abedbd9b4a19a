//! The launches of the device probe, `shaders/probe/`: the work of each and its expected results. `gpu/probe.rs` times them.

use crate::kernels::gemm::bytes::Dot;
use crate::kernels::gemm::coop;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, DeviceCaps, Dispatch, Resource, parameters};

parameters! {
    /// `shaders/probe/params.wgsl`.
    struct Params {
        rounds: u32,
        stride: u32,
        factor: u32,
        addend: u32,
    }
}

/// The hardware unit that a launch exercises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exercise {
    /// `fma` of f32.
    Fma32,
    /// `fma` of f16.
    Fma16,
    /// Dot products of four bytes, in the way of the device's kernels.
    Dot,
    /// `coopMultiplyAdd` of f16 with sums in f32.
    Matrix,
    /// Reads from workgroup memory.
    Workgroup,
    /// Writes to device memory, as input of the next two.
    Fill,
    /// Reads from device memory.
    Read,
    /// Reads from device memory and writes to it.
    Copy,
    /// A launch with almost no work.
    Launch,
}

/// The amount of work of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub groups: u32,
    /// Repetitions of an invocation's work, for exercises of arithmetic or workgroup memory.
    pub rounds: u32,
}

/// Steps of a chain in a round (`shaders/probe/matrix.wgsl` too), and chains of an invocation in `shaders/probe/fma.wgsl` and
/// `shaders/probe/dot.wgsl`.
const STEPS: u32 = 256;
const CHAINS: u32 = 16;

/// Columns and vec4s of the tile of `shaders/probe/workgroup.wgsl`.
const COLUMNS: u32 = 128;
const TILE: u32 = 4 * COLUMNS;

/// The vec4s of device memory that an invocation owns in `shaders/probe/fill.wgsl`, `shaders/probe/read.wgsl` and
/// `shaders/probe/copy.wgsl`.
const VECS: u32 = 16;

/// An odd number whose multiples look like noise.
const NOISE: u32 = 0x9e37_79b1;

/// The factor of the codes in `shaders/probe/dot.wgsl`.
const WEIGHTS: u32 = 0x05fb_0d03;

/// An odd number of columns.
const COLUMN_STEP: u32 = 1;

impl Exercise {
    const ALL: [Self; 9] = [
        Self::Fma32,
        Self::Fma16,
        Self::Dot,
        Self::Matrix,
        Self::Workgroup,
        Self::Fill,
        Self::Read,
        Self::Copy,
        Self::Launch,
    ];

    /// All exercises that a device with these caps can run. 16-bit floats are not checked.
    pub(crate) fn all(caps: &DeviceCaps) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|&exercise| exercise != Self::Matrix || subgroups(caps) > 0)
    }

    fn program(self, caps: &DeviceCaps) -> Program {
        let program = match self {
            Self::Fma32 => Program::new(&program::PROBE_F32).with(&program::PROBE_FMA),
            Self::Fma16 => Program::new(&program::PROBE_F16).with(&program::PROBE_FMA),
            Self::Dot => Dot::of(caps.emulate_dot4).link(Program::new(&program::PROBE_DOT)),
            Self::Matrix => coop::link(&program::PROBE_MATRIX, caps).constant("SUBGROUPS", subgroups(caps)),
            Self::Workgroup => Program::new(&program::PROBE_WORKGROUP),
            Self::Fill => Program::new(&program::PROBE_FILL),
            Self::Read => Program::new(&program::PROBE_READ),
            Self::Copy => Program::new(&program::PROBE_COPY),
            Self::Launch => Program::new(&program::PROBE_LAUNCH),
        };
        match self {
            Self::Fma32 | Self::Fma16 | Self::Dot | Self::Matrix => program.constant("STEPS", STEPS),
            Self::Fill | Self::Read | Self::Copy => program.constant("VECS", VECS),
            Self::Workgroup | Self::Launch => program,
        }
    }

    /// The factor and the addend of the uniform block.
    fn numbers(self) -> (u32, u32) {
        match self {
            Self::Dot => (WEIGHTS, 0),
            Self::Workgroup => (COLUMN_STEP, NOISE),
            Self::Fill | Self::Read | Self::Copy => (NOISE, 0),
            Self::Fma32 | Self::Fma16 | Self::Matrix | Self::Launch => (1, 1),
        }
    }

    /// The launch. Its bindings are the buffer that it reads, if any, then the buffer that it writes, in the order of slots.
    pub(crate) fn dispatch(self, size: Size, caps: &DeviceCaps) -> Dispatch {
        let (factor, addend) = self.numbers();
        let params = Params { rounds: size.rounds, stride: invocations(size, caps), factor, addend };
        let program = self.program(caps).constant("GROUP_X", group(caps));
        let reads = matches!(self, Self::Read | Self::Copy).then_some(Binding::read(1, Resource::Input(0)));
        let bindings = reads.into_iter().chain([Binding::write(6, Resource::Output(0))]);
        Dispatch::new(program, &params, Params::FIELDS, bindings, size.groups as usize, caps)
    }

    /// The smallest and the largest work. Loops stay far below 65,535 rounds, where some drivers end them, and the grid has one
    /// dimension.
    pub(crate) fn sizes(self, caps: &DeviceCaps) -> (Size, Size) {
        let most = caps.groups_per_dimension.clamp(1, 4096);
        let (groups, least, rounds) = match self {
            Self::Fma32 | Self::Fma16 | Self::Dot | Self::Matrix => (most, 1, 512),
            Self::Workgroup => (most, COLUMNS, 256 * COLUMNS),
            Self::Fill | Self::Read | Self::Copy => (most, 1, 1),
            Self::Launch => (1, 1, 1),
        };
        (Size { groups: groups.min(16), rounds: least }, Size { groups, rounds })
    }

    /// The work of a launch: operations, bytes, or launches.
    pub(crate) fn work(self, size: Size, caps: &DeviceCaps) -> f64 {
        let invocations = f64::from(invocations(size, caps));
        let steps = invocations * f64::from(size.rounds) * f64::from(STEPS * CHAINS);
        match self {
            Self::Fma32 | Self::Fma16 => 2.0 * steps,
            // Four multiplications and four additions.
            Self::Dot => 8.0 * steps,
            Self::Matrix => {
                let chains = f64::from(size.groups * subgroups(caps)) * 4.0;
                chains * f64::from(size.rounds * STEPS) * 2.0 * f64::from(caps.coop_matrix_size.pow(3))
            }
            Self::Workgroup => invocations * f64::from(size.rounds) * 64.0,
            Self::Fill | Self::Read => bytes(size, caps) as f64,
            Self::Copy => 2.0 * bytes(size, caps) as f64,
            Self::Launch => 1.0,
        }
    }

    /// Words of `out`, for exercises that have it: one per invocation, or one counter.
    pub(crate) fn words(self, size: Size, caps: &DeviceCaps) -> usize {
        if self == Self::Launch { 1 } else { invocations(size, caps) as usize }
    }

    /// The expected contents of `out`.
    pub(crate) fn expected(self, size: Size, caps: &DeviceCaps) -> Vec<u32> {
        let count = invocations(size, caps);
        match self {
            Self::Fma32 | Self::Fma16 => chains(count, size.rounds, |start| start + STEPS),
            Self::Dot => {
                let step = |x: u32| dot(x, WEIGHTS, caps.emulate_dot4).wrapping_add(x);
                chains(count, size.rounds, |start| (0..STEPS).fold(start, |x, _| step(x)))
            }
            Self::Matrix => vec![4 * size.rounds * STEPS * caps.coop_matrix_size; count as usize],
            Self::Workgroup => {
                let tile = (0..4 * TILE).fold(0u32, |sum, word| sum.wrapping_add(word.wrapping_mul(NOISE)));
                vec![tile.wrapping_mul(size.rounds / COLUMNS); count as usize]
            }
            // Words 4 (index + i · stride) + lane, for i < 16 and lane < 4.
            Self::Read => (0..count).map(|index| (256 * index + 1920 * count + 96).wrapping_mul(NOISE)).collect(),
            Self::Fill | Self::Copy => Vec::new(),
            Self::Launch => vec![1],
        }
    }
}

/// Words that the launch of [`unpack_f16`] writes, each for an equal part of all f16.
pub(crate) const F16_WORDS: usize = 64;

/// The f16 of each of these words.
pub(crate) const F16_PER_WORD: usize = (1 << 16) / F16_WORDS;

/// The launch that tests the device's conversion of f16 to f32. It writes numbers of f16 that are converted exactly.
pub(crate) fn unpack_f16(caps: &DeviceCaps) -> Dispatch {
    // The factor puts a half into both halves of a word.
    let params = Params { rounds: F16_PER_WORD as u32, stride: F16_WORDS as u32, factor: 0x1_0001, addend: 0 };
    let program = Program::new(&program::PROBE_UNPACK_F16).constant("GROUP_X", group(caps).min(64));
    let groups = F16_WORDS.div_ceil(group(caps).min(64) as usize);
    Dispatch::new(program, &params, Params::FIELDS, [Binding::write(6, Resource::Output(0))], groups, caps)
}

/// Invocations of a workgroup.
fn group(caps: &DeviceCaps) -> u32 {
    1 << caps.invocations.clamp(1, 256).ilog2()
}

/// Subgroups of a workgroup that multiply matrices; 0 if the device has no cooperative matrices.
pub(crate) fn subgroups(caps: &DeviceCaps) -> u32 {
    if caps.coop_matrix_size == 0 { 0 } else { group(caps) / caps.max_subgroup_size.max(1) }
}

fn invocations(size: Size, caps: &DeviceCaps) -> u32 {
    size.groups * group(caps)
}

/// The bytes of device memory that all invocations own together.
pub(crate) fn bytes(size: Size, caps: &DeviceCaps) -> u64 {
    u64::from(invocations(size, caps)) * u64::from(VECS) * 16
}

/// For each invocation the sum over rounds and chains, given the last element of a chain.
fn chains(invocations: u32, rounds: u32, last: impl Fn(u32) -> u32) -> Vec<u32> {
    let sum = |terms: &mut dyn Iterator<Item = u32>| terms.fold(0u32, u32::wrapping_add);
    let round: Vec<u32> = (0..64).map(|start| sum(&mut (start..start + CHAINS).map(&last))).collect();
    let totals: Vec<u32> =
        (0..64).map(|first| sum(&mut (0..rounds).map(|r| round[(first + r) as usize % 64]))).collect();
    (0..invocations).map(|index| totals[index as usize % 64]).collect()
}

/// The dot product of four bytes, as a bit pattern. The bytes of `b` are signed; those of `a` are signed unless `uint8`.
fn dot(a: u32, b: u32, uint8: bool) -> u32 {
    let code = |a: u8| if uint8 { i32::from(a) } else { i32::from(a as i8) };
    let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes()).map(|(a, b)| code(a) * i32::from(b as i8));
    products.sum::<i32>() as u32
}
