//! The weights of convolutions as constants, in the orders of [`WeightLayout`]. Each order ends with a table of Σ(w − v) and v of
//! each output channel.

use std::sync::Arc;

use super::loops::WeightLayout;
use super::phase::{Phase, phase};
use crate::kernels::gemm::bytes::int8_shift;
use crate::kernels::gemm::product::{columns_within, pack_columns, packed_words};
use crate::kernels::{Constant, DeviceCaps, epilogue};
use crate::ops::Conv;

impl WeightLayout {
    /// The weights of a phase for some output channels.
    pub(crate) fn constant(self, op: &Arc<Conv>, phase_index: usize, first: usize, columns: usize) -> Constant {
        let taps = phase(op.window(), phase_index).taps.len();
        let count = self.bytes_with_table(op, taps, columns) / 4;
        let label = format!("{self:?} of phase {phase_index}");
        let of = op.clone();
        packed(op, &label, [first, columns], count as usize, move || {
            let phase = phase(of.window(), phase_index);
            let mut words = self.words(&of, &phase, first, columns);
            words.extend(column_table(&of, &phase, first, columns));
            words
        })
    }

    /// The output channels of one launch: all, unless their weights exceed a binding and can be divided.
    pub(crate) fn columns_per_launch(self, op: &Conv, taps: usize, caps: &DeviceCaps) -> usize {
        let outputs = op.weights().dims()[0];
        if !matches!(self, Self::Vecs | Self::Words) || op.groups() > 1 {
            return outputs;
        }
        // If a pixel of the output exceeds a binding, the launch is refused for any number of channels.
        let refused = u64::from(epilogue::row_words(op.output_type())) * 4 > caps.binding_bytes;
        if refused || self.bytes_with_table(op, taps, outputs) <= caps.binding_bytes {
            return outputs;
        }
        columns_within(caps, self.bytes_with_table(op, taps, 4))
    }

    /// True if the weights of a launch fit a binding.
    pub(crate) fn fits_binding(self, op: &Conv, caps: &DeviceCaps) -> bool {
        let taps = op.window().taps();
        self.bytes_with_table(op, taps, self.columns_per_launch(op, taps, caps)) <= caps.binding_bytes
    }

    fn bytes_with_table(self, op: &Conv, taps: usize, columns: usize) -> u64 {
        (self.bytes(op, taps, columns) + 8 * columns.next_multiple_of(4)) as u64
    }

    /// Bytes of the weights of `taps` taps and `columns` output channels without the table. Loops over words read int8, whatever the
    /// format.
    pub(crate) fn bytes(self, op: &Conv, taps: usize, columns: usize) -> usize {
        let channels = op.channels_per_group();
        let padded = columns.next_multiple_of(4);
        let vec_bytes = channels.div_ceil(16) * 2 * op.weights().dtype().bits();
        match self {
            Self::Vecs if op.groups() == 1 => taps * vec_bytes * padded,
            Self::Vecs => op.groups() * taps * vec_bytes * op.outputs_per_group().next_multiple_of(4),
            Self::Words => taps * channels.next_multiple_of(4) * padded,
            Self::Grouped => columns * taps * channels.next_multiple_of(4),
            Self::Depthwise => taps * padded,
        }
    }

    /// Bytes of the unit in which the loop finds the table: sixteen codes, a vec4 or a word.
    pub(crate) fn unit(self, op: &Conv) -> usize {
        match self {
            Self::Vecs => 2 * op.weights().dtype().bits(),
            Self::Words => 16,
            Self::Grouped | Self::Depthwise => 4,
        }
    }

    /// The output channels, or quads of them, from one row of weights to the next.
    pub(crate) fn stride(self, op: &Conv, columns: usize) -> usize {
        match self {
            Self::Vecs | Self::Words if op.groups() == 1 => columns.next_multiple_of(4),
            Self::Vecs | Self::Words | Self::Grouped => op.outputs_per_group().next_multiple_of(4),
            Self::Depthwise => op.weights().dims()[0].div_ceil(4),
        }
    }

    fn words(self, op: &Conv, phase: &Phase, first: usize, columns: usize) -> Vec<u32> {
        let (outputs, channels) = (op.weights().dims()[0], op.channels_per_group());
        let taps = phase.taps.len();
        let byte = |output, tap, channel| u32::from(phase_code(op, phase, output, tap, channel) as u8);
        match self {
            Self::Vecs => {
                // One matrix per group and tap, whose rows are the channels.
                let per_group = if op.groups() == 1 { columns } else { op.outputs_per_group() };
                let bits = op.weights().dtype().bits();
                pack_columns(bits, op.groups() * taps, per_group, channels, |matrix, channel, column| {
                    phase_code(op, phase, first + matrix / taps * per_group + column, matrix % taps, channel)
                })
            }
            Self::Words => {
                let (group_words, stride) = (channels.div_ceil(4), columns.next_multiple_of(4));
                let mut words = vec![0u32; taps * group_words * stride];
                for tap in 0..taps {
                    for channel in 0..channels {
                        let row = (tap * group_words + channel / 4) * stride;
                        for column in 0..columns {
                            words[row + column] |= byte(first + column, tap, channel) << (8 * (channel % 4));
                        }
                    }
                }
                words
            }
            Self::Grouped => {
                let group_words = channels.div_ceil(4);
                let mut words = vec![0u32; outputs * taps * group_words];
                for output in 0..outputs {
                    for tap in 0..taps {
                        for channel in 0..channels {
                            let at = (output * taps + tap) * group_words + channel / 4;
                            words[at] |= byte(output, tap, channel) << (8 * (channel % 4));
                        }
                    }
                }
                words
            }
            Self::Depthwise => {
                let quads = outputs.div_ceil(4);
                let mut words = vec![0u32; taps * quads];
                for output in 0..outputs {
                    for tap in 0..taps {
                        words[tap * quads + output / 4] |= byte(output, tap, 0) << (8 * (output % 4));
                    }
                }
                words
            }
        }
    }
}

/// The weights of some output channels with the taps along k, in the order of `shaders/gemm/weights_*.wgsl`, then their table.
pub(crate) fn of_patches(op: &Arc<Conv>, first: usize, columns: usize) -> Constant {
    let (channels, bits) = (op.channels_per_group(), op.weights().dtype().bits());
    let k = op.window().taps() * channels;
    let of = op.clone();
    packed(op, "Patches", [first, columns], packed_words(1, columns, k, bits), move || {
        let phase = phase(of.window(), 0);
        let code = |_, k, column| phase_code(&of, &phase, first + column, k / channels, k % channels);
        let mut words = pack_columns(bits, 1, columns, k, code);
        words.extend(column_table(&of, &phase, first, columns));
        words
    })
}

/// A constant that is packed from the weights of an op. Its label holds everything that determines the packing.
fn packed(
    op: &Conv,
    order: &str,
    [first, columns]: [usize; 2],
    count: usize,
    make: impl Fn() -> Vec<u32> + Send + Sync + 'static,
) -> Constant {
    let window = op.window();
    let mut label = format!("conv columns {first}..{} as {order}, {} groups", first + columns, op.groups());
    if window.transposed {
        // These determine the taps of each phase.
        label += &format!(", transposed {:?} {:?} {:?}", window.stride, window.dilation, window.begin);
    }
    Constant::packed(op.weights(), label, count, make)
}

/// The code of a weight of a phase, as int8, minus the shift of its format.
fn phase_code(op: &Conv, phase: &Phase, output: usize, tap: usize, channel: usize) -> i32 {
    op.weights().code(op.weight_index(output, phase.taps.at(tap), channel)) - int8_shift(op.weights().dtype())
}

/// Σ(w − v) and v of each output channel.
fn column_table(op: &Conv, phase: &Phase, first: usize, columns: usize) -> Vec<u32> {
    let channels = op.channels_per_group();
    let shift = int8_shift(op.weights().dtype());
    let entry = |output| {
        let zero_point = op.weight_zero_point(output) - shift;
        let terms = (0..phase.taps.len()).flat_map(|tap| (0..channels).map(move |channel| (tap, channel)));
        let add = |sum: i32, (tap, i)| sum.wrapping_add(phase_code(op, phase, output, tap, i) - zero_point);
        [terms.fold(0, add) as u32, zero_point as u32]
    };
    let mut words: Vec<u32> = (first..first + columns).flat_map(entry).collect();
    words.resize(2 * columns.next_multiple_of(4), 0);
    words
}
