//! Overflow checks of integer sums, channel by channel, from the weights, the range of the codes that they multiply, and the bias.
//! Kernels accumulate in wrapping arithmetic and subtract zero points at the end, so only the complete sum with its bias must fit,
//! not its parts.

use super::output::{Bias, Output};
use crate::error::{Result, require};
use crate::numeric::{DType, Rounding};
use crate::tensor::{Quantization, Shape, TensorType};

/// The least and greatest code minus its zero point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    least: i64,
    greatest: i64,
}

impl Offsets {
    /// The offsets of a tensor of integers, over all its zero points.
    pub(super) fn of(tensor_type: &TensorType) -> Self {
        let zero_points = tensor_type.quantization().map_or(&[0][..], Quantization::zero_points);
        let offsets = zero_points.iter().map(|&z| Self::at(tensor_type.dtype(), z));
        let join = |a: Self, b: Self| Self { least: a.least.min(b.least), greatest: a.greatest.max(b.greatest) };
        offsets.reduce(join).unwrap_or(Self { least: 0, greatest: 0 })
    }

    /// The offsets of 8-bit codes with a zero point that is computed on the device.
    pub(super) fn dynamic() -> Self {
        Self { least: -255, greatest: 255 }
    }

    fn at(dtype: DType, zero_point: i32) -> Self {
        let (low, high) = dtype.range().expect("an integer format");
        Self { least: i64::from(low) - i64::from(zero_point), greatest: i64::from(high) - i64::from(zero_point) }
    }
}

/// The weights of one sum, minus their zero point: the sum of the positive ones, and the magnitude of the sum of the negative ones.
#[derive(Debug, Clone, Copy)]
pub(super) enum Weights {
    /// Both occur together.
    Known { above: i64, below: i64 },
    /// Upper bounds, of which at most one is reached.
    Unknown { above: i64, below: i64 },
}

impl Weights {
    pub(super) fn known(offsets: impl Iterator<Item = i32>) -> Self {
        let (mut above, mut below) = (0, 0);
        for offset in offsets.map(i64::from) {
            *(if offset > 0 { &mut above } else { &mut below }) += offset.abs();
        }
        Self::Known { above, below }
    }

    /// The bounds for `terms` weights of a data type that are computed when the op runs.
    pub(super) fn unknown(terms: usize, dtype: DType, zero_point: i32) -> Self {
        let Offsets { least, greatest } = Offsets::at(dtype, zero_point);
        Self::Unknown { above: terms as i64 * greatest, below: terms as i64 * -least }
    }

    /// The least and greatest sum of products with codes.
    fn products(self, codes: Offsets) -> (i64, i64) {
        let (least, greatest) = (-codes.least, codes.greatest);
        match self {
            Self::Known { above, below } => (-(above * least + below * greatest), above * greatest + below * least),
            Self::Unknown { above, below } => {
                (-(above * least).max(below * greatest), (above * greatest).max(below * least))
            }
        }
    }

    /// The largest magnitude of a sum of products with the low bytes of codes, 0 to 255, or with the high bytes, −128 to 127.
    fn byte_products(self) -> i64 {
        let size = |(least, greatest): (i64, i64)| greatest.max(-least);
        let bytes = [Offsets { least: 0, greatest: 255 }, Offsets { least: -128, greatest: 127 }];
        bytes.into_iter().map(|codes| size(self.products(codes))).max().unwrap_or(0)
    }
}

/// One sum of an op.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    /// The index of the column or channel; `None` if all have equal bounds.
    pub index: Option<usize>,
    pub weights: Weights,
    /// The least and greatest bias.
    pub bias: (i64, i64),
}

impl Channel {
    /// The largest magnitude of the sum, and the bias's part of it.
    fn reach(&self, codes: Offsets) -> (i64, i64) {
        let (least, greatest) = self.weights.products(codes);
        let below = least.saturating_add(self.bias.0).saturating_neg().max(0);
        let above = greatest.saturating_add(self.bias.1).max(0);
        if above >= below { (above, self.bias.1) } else { (below, self.bias.0) }
    }

    fn name(&self) -> String {
        self.index.map_or_else(String::new, |index| format!("channel {index}: "))
    }
}

/// Refuses sums that could leave i32.
pub(super) fn check(channels: impl Iterator<Item = Channel>, codes: Offsets, terms: usize) -> Result<()> {
    let limit = i64::from(i32::MAX);
    for channel in channels {
        let (reach, bias) = channel.reach(codes);
        require!(
            reach <= limit,
            "{}the sum over {terms} products with a bias of {bias} can reach {reach} in magnitude, but an i32 accumulator holds \
             {limit}: split the reduction axis, or use smaller codes or a smaller bias",
            channel.name()
        );
    }
    Ok(())
}

/// True if a sum of products with int16 codes needs more than 32 bits.
///
/// Sums of the codes' high and low bytes must stay in i32. The combined sums must stay in 47 bits and a sign, as TFLite demands of
/// its 64-bit accumulators.
///
/// # Errors
/// If a sum could leave its accumulator.
pub(super) fn check_wide(channels: impl Iterator<Item = Channel>, terms: usize, output: &Output) -> Result<bool> {
    const WIDEST: i64 = (1 << 47) - 1;
    let (codes, narrow) = (Offsets::at(DType::Int16, 0), i64::from(i32::MAX));
    let reason = match output {
        Output::Accumulator => Some("raw sums are int32: ask for codes or real numbers"),
        Output::Requantized(stage) if matches!(stage.mode(), Rounding::FixedSingle | Rounding::FixedDouble) => {
            Some("this rounding takes sums of 32 bits: use Rounding::FixedWide, as TFLite does, or Rounding::Onnx")
        }
        _ => None,
    };
    let (mut wide, mut bytes, mut most) = (false, (0, String::new()), (0, 0, String::new()));
    for channel in channels {
        let (reach, bias) = channel.reach(codes);
        require!(
            reach <= narrow || reason.is_none(),
            "{}the sum over {terms} products with int16 and a bias of {bias} can reach {reach} in magnitude, more than {narrow}, \
             but {}",
            channel.name(),
            reason.unwrap_or_default()
        );
        wide |= reach > narrow;
        if channel.weights.byte_products() > bytes.0 {
            bytes = (channel.weights.byte_products(), channel.name());
        }
        if reach > most.0 {
            most = (reach, bias, channel.name());
        }
    }
    // Sums that fit i32 may wrap in between.
    let (reach, name) = bytes;
    require!(
        !wide || reach <= narrow,
        "{name}the sum over {terms} products of bytes can reach {reach} in magnitude, but an i32 accumulator holds {narrow}: split \
         the reduction axis or use smaller weights"
    );
    let (reach, bias, name) = most;
    require!(
        reach <= WIDEST,
        "{name}the sum over {terms} products with int16 and a bias of {bias} can reach {reach} in magnitude, but at most {WIDEST} \
         are added up: split the reduction axis or use a smaller bias"
    );
    Ok(wide)
}

/// The ranges of a bias, for each matrix of weights and each of its columns.
#[derive(Debug)]
pub(super) struct BiasRanges {
    /// The shape of `ranges`, which broadcasts to `weights`.
    shape: Shape,
    weights: Shape,
    /// The least and greatest bias per element of `shape`.
    ranges: Vec<(i64, i64)>,
}

impl BiasRanges {
    /// The ranges of a bias that broadcasts to an output of `columns` columns. `leading` are the dimensions of the weights before
    /// their matrices.
    pub(super) fn new(bias: &Bias, leading: &[usize], columns: usize) -> Result<Self> {
        let rank = leading.len() + 2;
        let line = |n: usize| -> Vec<usize> { (1..rank).map(|_| 1).chain([n]).collect() };
        let weights = Shape::new([leading, &[1, columns]].concat())?;
        let of = |shape: Vec<usize>, ranges| Ok(Self { shape: Shape::new(shape)?, weights, ranges });
        let tensor = match bias {
            Bias::None => return of(line(1), vec![(0, 0)]),
            Bias::Wide(values) => return of(line(columns), values.iter().map(|&bias| (bias, bias)).collect()),
            Bias::Tensor(tensor) => tensor,
        };
        let Ok(values) = tensor.values::<i32>() else { return of(line(1), vec![(0, 0)]) };
        // The bias may have dimensions that the weights don't have, and may vary along axes where the weights don't. A range covers
        // those.
        let own = tensor.tensor_type().shape();
        let most = own.rank().max(rank);
        let aligned: Vec<usize> = (0..most).map(|axis| own.aligned(most, axis)).collect();
        let beyond = most - rank;
        let differs =
            |axis: usize| axis == most - 1 || (axis >= beyond && axis < most - 2 && leading[axis - beyond] > 1);
        let reduced: Vec<usize> = (0..most).map(|axis| if differs(axis) { aligned[axis] } else { 1 }).collect();
        let (from, to) = (Shape::new(aligned)?, Shape::new(&reduced[..])?);
        let mut ranges = vec![(i64::MAX, i64::MIN); to.elements()];
        for (index, &bias) in values.iter().enumerate() {
            let (least, greatest) = &mut ranges[to.source_index(&from, index)];
            (*least, *greatest) = ((*least).min(bias.into()), (*greatest).max(bias.into()));
        }
        of(reduced[beyond..].to_vec(), ranges)
    }

    /// True if all columns have equal ranges.
    pub(super) fn is_uniform(&self) -> bool {
        self.shape.row_length() == 1
    }

    /// The least and greatest bias of a column of a matrix.
    pub(super) fn of(&self, matrix: usize, column: usize) -> (i64, i64) {
        let index = self.shape.source_index(&self.weights, matrix * self.weights.row_length() + column);
        self.ranges.get(index).copied().unwrap_or((0, 0))
    }
}
