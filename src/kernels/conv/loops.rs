//! The loops of convolutions, and the orders of the weights that they read.

use crate::kernels::gemm::product::weight_part;
use crate::kernels::gemm::tiling::{Tile, Tiling};
use crate::kernels::launch::program::{self, Part, Program};
use crate::ops::Conv;

/// A loop of `shaders/conv/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    /// Sixteen channels of a pixel at a time.
    Vecs,
    /// Four channels of a pixel at a time.
    Words,
    /// The same for groups of any size: an invocation computes one quad of channels of one pixel.
    Grouped,
    /// A channel of lhs per group.
    Depthwise,
    /// The same for neighbouring pixels of an output row.
    DepthwiseRow,
}

/// A loop and its tile: rows are pixels, columns are output channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvKernel {
    pub of: Loop,
    pub tile: Tile,
}

/// Products of codes whose sum f32 holds exactly.
const F32_TAPS: usize = 1024;

impl ConvKernel {
    pub(crate) fn new(of: Loop, tile: Tile) -> Self {
        Self { of, tile }
    }

    pub(crate) fn label(self) -> String {
        let name = match self.of {
            Loop::Vecs => "conv",
            Loop::Words => "conv by words",
            Loop::Grouped => "grouped conv",
            Loop::Depthwise => "depthwise conv",
            Loop::DepthwiseRow => "depthwise conv along rows",
        };
        self.tile.label(name)
    }

    pub(crate) fn is_through_workgroup_memory(self) -> bool {
        matches!(self.tile.tiling, Tiling::Workgroup(_))
    }

    pub(crate) fn part(self) -> &'static Part {
        match self.of {
            Loop::Vecs if self.is_through_workgroup_memory() => &program::CONV_WORKGROUP,
            Loop::Vecs => &program::CONV,
            Loop::Words => &program::CONV_WORDS,
            Loop::Grouped => &program::CONV_GROUPED,
            Loop::Depthwise => &program::DEPTHWISE,
            Loop::DepthwiseRow => &program::DEPTHWISE_ROW,
        }
    }

    /// Adds the parts and constants of the loop and its tile to a program that begins with [`Self::part`].
    pub(crate) fn link(self, program: Program, op: &Conv) -> Program {
        let tile = self.tile;
        // The quads of an invocation belong to one group.
        let quad_step = if op.groups() == 1 { tile.group[0] } else { 1 };
        let of_tile = |program: Program| {
            program
                .constant("TILE_M", tile.rows)
                .constant("TILE_Q", tile.quads)
                .constant("QUAD_STEP", quad_step)
                .constant("LHS_ROWS", false)
                .constant("ROW_ENTRIES", false)
        };
        let depthwise = |program: Program| {
            let exact = op.window().taps() <= F32_TAPS;
            program
                .with(if exact { &program::DEPTHWISE_SUMS_F32 } else { &program::DEPTHWISE_SUMS_I32 })
                .constant("MULTIPLIER_ONE", op.outputs_per_group() == 1)
                .constant("TILE_M", tile.rows)
        };
        match self.of {
            Loop::Vecs => {
                let program = of_tile(program.with(weight_part(op.weights().dtype().bits())));
                match tile.tiling {
                    Tiling::Workgroup(staging) => staging.link(program),
                    _ => program.with(tile.row_source()),
                }
            }
            Loop::Words => of_tile(program),
            Loop::Grouped => program,
            Loop::Depthwise => depthwise(program),
            Loop::DepthwiseRow => {
                let [taps, stride] = Loop::row_window(op).expect("listed for these windows only");
                depthwise(program).constant("TAPS", taps).constant("STRIDE", stride)
            }
        }
    }
}

impl Loop {
    /// The order of the weights that it reads.
    pub(crate) fn layout(self) -> WeightLayout {
        match self {
            Self::Vecs => WeightLayout::Vecs,
            Self::Words => WeightLayout::Words,
            Self::Grouped => WeightLayout::Grouped,
            Self::Depthwise | Self::DepthwiseRow => WeightLayout::Depthwise,
        }
    }

    /// The taps and the stride along a row, if the loop over rows is compiled for them: those of networks in use.
    pub(crate) fn row_window(op: &Conv) -> Option<[u32; 2]> {
        let window = op.window();
        let [taps, stride] = [window.kernel[2], window.stride[2]].map(|size| size as u32);
        let common = matches!(taps, 3 | 5 | 7) && stride <= 2 && window.dilation[2] == 1;
        (common && !window.transposed && op.outputs_per_group() == 1).then_some([taps, stride])
    }

    /// The codes of a step over the channels of a tap.
    pub(crate) fn codes_per_step(self) -> usize {
        if self == Self::Vecs { 16 } else { 4 }
    }
}

/// The order of the weights that a loop reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightLayout {
    /// `shaders/gemm/weights_*.wgsl`, one matrix per group and tap.
    Vecs,
    /// `[tap][channel / 4][output]`, four channels in a word.
    Words,
    /// `[output][tap][channel / 4]`, four channels in a word.
    Grouped,
    /// `[tap][output / 4]`, four outputs in a word.
    Depthwise,
}
