//! Padding of a tensor. The meaning is `reference/pad.rs`, the GPU programs are `kernels/layout/rearrange.rs`.

use super::{OpDef, check_moved};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, TensorType};

/// The elements around a padded tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PadMode {
    /// Real zero: the zero point, or 0 if there is none.
    Zero,
    /// This code; only for tensors of integers.
    Code(i32),
    /// The nearest element.
    Edge,
    /// The elements mirrored at the edge, without repeating the edge element: `c b [a b c] b a`.
    Reflect,
}

/// `out[i_0, i_1, …] = x[i_0 − begin_0, i_1 − begin_1, …]`, or the element given by [`PadMode`] outside the input
///
/// * Elements of any data type but [`DType::Parameters`](crate::DType::Parameters), up to 8 dimensions. Bits are copied unchanged.
/// * Scales per tensor stay. Scales along an axis also stay, if that axis is not padded.
///
/// Convolutions and pools have their own padding; this op is for other padding. Sources: ONNX Pad, TFLite PAD and MIRROR_PAD.
///
/// ```
/// use lowbit::{Quantization, Tensor, ops::{Pad, PadMode}, reference};
/// let x = Tensor::new([3], vec![1u8, 2, 3])?.quantized(Quantization::tensor(0.5, 9))?;
/// let pad = |mode| -> lowbit::Result<_> {
///     let op = Pad::new(x.tensor_type().clone(), [2], [1], mode)?;
///     Ok(reference::run(&op.into(), &[&x])?[0].values::<u8>()?.to_vec())
/// };
/// assert_eq!(pad(PadMode::Zero)?, [9, 9, 1, 2, 3, 9]);
/// assert_eq!(pad(PadMode::Edge)?, [1, 1, 1, 2, 3, 3]);
/// assert_eq!(pad(PadMode::Reflect)?, [3, 2, 1, 2, 3, 2]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pad {
    input: TensorType,
    begin: Vec<usize>,
    end: Vec<usize>,
    mode: PadMode,
    fill: i32,
    output: TensorType,
}

impl Pad {
    /// A padding with `begin` elements before the first and `end` after the last of each axis.
    ///
    /// # Errors
    /// If the number of values is not the number of axes, there is too little to reflect or repeat, or the padding code or zero
    /// point is not a code of the data type or differs within the tensor.
    pub fn new(
        input: TensorType,
        begin: impl Into<Vec<usize>>,
        end: impl Into<Vec<usize>>,
        mode: PadMode,
    ) -> Result<Self> {
        check_moved(&input)?;
        let (begin, end) = (begin.into(), end.into());
        let rank = input.shape().rank();
        require!(
            begin.len() == rank && end.len() == rank,
            "padding has {} and {} values, but {input} has {rank} axes",
            begin.len(),
            end.len()
        );
        let mut sizes = Vec::new();
        for (axis, &extent) in input.dims().iter().enumerate() {
            let most = begin[axis].max(end[axis]);
            let needed = match mode {
                PadMode::Edge => usize::from(most > 0),
                PadMode::Reflect if most > 0 => most.saturating_add(1),
                _ => 0,
            };
            require!(
                extent >= needed,
                "axis {axis} of {input} is padded by {} and {} with {mode:?}, which takes {needed} elements, but it has {extent}",
                begin[axis],
                end[axis]
            );
            sizes.push(extent.saturating_add(begin[axis]).saturating_add(end[axis]));
        }
        require!(
            mode != PadMode::Zero || input.dtype() != DType::Float8E8M0,
            "{input} holds powers of two, of which none is zero: pad it with PadMode::Edge or Reflect"
        );
        let is_padded = |axis: usize| begin[axis] > 0 || end[axis] > 0;
        let mut output = TensorType::new(input.dtype(), sizes)?;
        let mut fill = 0;
        if let Some(quantization) = input.quantization() {
            match quantization.granularity() {
                Granularity::Tensor => {}
                Granularity::Axis(axis) if !is_padded(axis) => {}
                granularity => {
                    require!(
                        false,
                        "{input} is quantized by {granularity:?}, which says nothing of what is added: dequantize it, or use \
                         one scale"
                    );
                }
            }
            let zero_points = quantization.zero_points();
            fill = zero_points.first().copied().unwrap_or(0);
            require!(
                mode != PadMode::Zero || zero_points.iter().all(|&z| z == fill),
                "{input} has several zero points, so that real zero is no single code: give one with PadMode::Code"
            );
            output = output.quantized(quantization.clone())?;
        }
        if input.has_dynamic_scales() {
            require!(
                mode != PadMode::Zero,
                "the zero point of {input} is found on the device, so that real zero is no code yet: pad before it is quantized"
            );
            output = output.with_dynamic_scales();
        }
        if let PadMode::Code(code) = mode {
            let range = input.dtype().range();
            require!(
                range.is_some_and(|(low, high)| (low..=high).contains(&code)),
                "{input} is padded with code {code}, but {} has codes in {}",
                input.dtype(),
                range.map_or_else(|| "no range: use PadMode::Zero".into(), |(low, high)| format!("{low}..={high}"))
            );
            fill = code;
        }
        Ok(Self { input, begin, end, mode, fill, output })
    }

    /// True if nothing is added along the first axis.
    pub(super) fn keeps_rows(&self) -> bool {
        self.begin.first() == Some(&0) && self.end.first() == Some(&0)
    }

    /// Number of elements before the first of each axis.
    #[must_use]
    pub fn begin(&self) -> &[usize] {
        &self.begin
    }

    /// The elements around the tensor.
    #[must_use]
    pub fn mode(&self) -> PadMode {
        self.mode
    }

    /// The padding code, for modes that have one.
    pub(crate) fn fill(&self) -> i32 {
        self.fill
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }
}

impl OpDef for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        for (axis, (old, new)) in self.input.dims().iter().zip(inputs[0].dims()).enumerate() {
            require!(
                old == new || (self.begin[axis], self.end[axis]) == (0, 0),
                "axis {axis} of {} is padded, so that there can't be {new} indices",
                self.input
            );
        }
        Self::new(inputs[0].clone(), &self.begin[..], &self.end[..], self.mode)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        self.keeps_rows().then(|| vec![true])
    }
}
