//! Parts of a tensor: ranges, strides, or selected indices of an axis. The meaning is `reference/slice.rs`, the GPU programs are
//! `kernels/layout/rearrange.rs`.

use std::sync::Arc;

use super::{OpDef, check_moved};
use crate::error::{Result, refuse, require};
use crate::tensor::{Granularity, Quantization, TensorType};

/// The largest number of scales along an axis of a slice that repeats its input's scales.
const MOST_SCALES: usize = 1 << 20;

/// `out[i_0, i_1, …] = x[s_0(i_0), s_1(i_1), …]` where `s(i) = begin + step · i`, or entry `i` of a list of indices
///
/// * Elements of any data type but [`DType::Parameters`](crate::DType::Parameters), up to 8 dimensions. Bits are copied unchanged.
/// * Scales per tensor stay. Scales along an axis follow its indices.
/// * Steps may be negative, which reverses an axis. A list may repeat an index or permute all indices: a channel shuffle
///   (ShuffleNet) is one [`Slice::take`].
/// * [`Slice::last`] is the end of the first axis, also where that is dynamic: the row of the last token.
///
/// Sources: ONNX Slice, and Gather with constant indices; TFLite SLICE and STRIDED_SLICE.
///
/// ```
/// use lowbit::{Tensor, ops::Slice, reference};
/// let x = Tensor::new([2, 4], vec![1u8, 2, 3, 4, 5, 6, 7, 8])?;
/// let middle = Slice::new(x.tensor_type().clone(), [0, 1], [2, 2]).build()?;
/// assert_eq!(reference::run(&middle.into(), &[&x])?[0].values::<u8>()?, [2, 3, 6, 7]);
/// let reversed = Slice::new(x.tensor_type().clone(), [1, 3], [1, 2]).steps([1, -2]).build()?;
/// assert_eq!(reference::run(&reversed.into(), &[&x])?[0].values::<u8>()?, [8, 6]);
/// let shuffled = Slice::take(x.tensor_type().clone(), 1, [0, 2, 1, 3])?;
/// assert_eq!(reference::run(&shuffled.into(), &[&x])?[0].values::<u8>()?, [1, 3, 2, 4, 5, 7, 6, 8]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Slice {
    input: TensorType,
    indices: Vec<Indices>,
    output: TensorType,
    /// True if the first axis is counted from its end.
    from_end: bool,
}

/// The selected indices of an axis.
#[derive(Debug, Clone)]
pub(crate) enum Indices {
    Line { begin: usize, step: isize },
    List(Arc<[usize]>),
}

impl Indices {
    const ALL: Self = Self::Line { begin: 0, step: 1 };

    /// The input's index of an output index.
    pub(crate) fn source(&self, index: usize) -> usize {
        match self {
            Self::Line { begin, step } => begin.wrapping_add_signed(step.wrapping_mul(index as isize)),
            Self::List(list) => list[index],
        }
    }
}

/// Describes a [`Slice`]; made by [`Slice::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SliceBuilder {
    input: TensorType,
    begin: Vec<usize>,
    sizes: Vec<usize>,
    steps: Option<Vec<isize>>,
}

impl SliceBuilder {
    /// Distance between neighbouring indices, one per axis; 1 by default.
    pub fn steps(mut self, steps: impl Into<Vec<isize>>) -> Self {
        self.steps = Some(steps.into());
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the number of values is not the number of axes, or the indices leave the tensor.
    pub fn build(self) -> Result<Slice> {
        let Self { input, begin, sizes, steps } = self;
        let rank = input.shape().rank();
        let steps = steps.unwrap_or_else(|| vec![1; rank]);
        require!(
            begin.len() == rank && sizes.len() == rank && steps.len() == rank,
            "{} begins, {} sizes and {} steps were given, but {input} has {rank} axes",
            begin.len(),
            sizes.len(),
            steps.len()
        );
        let mut indices = Vec::new();
        for (axis, &extent) in input.dims().iter().enumerate() {
            let (begin, size, step) = (begin[axis], sizes[axis], steps[axis]);
            // The last index, in i128: callers may pass any numbers.
            let last = begin as i128 + step as i128 * (size.max(1) - 1) as i128;
            require!(
                size == 0 || (begin < extent && (0..extent as i128).contains(&last)),
                "{size} indices of axis {axis} from {begin} on, {step} apart, leave {input}, which has {extent} there"
            );
            indices.push(Indices::Line { begin: if size == 0 { 0 } else { begin }, step });
        }
        Slice::of(input, indices, sizes)
    }
}

impl Slice {
    /// A builder for `sizes` elements of each axis from `begin` on.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(input: TensorType, begin: impl Into<Vec<usize>>, sizes: impl Into<Vec<usize>>) -> SliceBuilder {
        SliceBuilder { input, begin: begin.into(), sizes: sizes.into(), steps: None }
    }

    /// `size` indices of one axis from `begin` on, and all indices of the other axes.
    #[cfg(any(feature = "onnx", feature = "tflite"))]
    pub(crate) fn along(input: TensorType, axis: usize, begin: usize, size: usize) -> Result<Self> {
        let mut sizes = input.dims().to_vec();
        let mut begins = vec![0; sizes.len()];
        (begins[axis], sizes[axis]) = (begin, size);
        Self::new(input, begins, sizes).build()
    }

    /// These indices of one axis, in this order, and all indices of the other axes.
    ///
    /// # Errors
    /// If the axis or an index doesn't exist.
    pub fn take(input: TensorType, axis: usize, indices: impl Into<Vec<usize>>) -> Result<Self> {
        let list = indices.into();
        let mut sizes = input.dims().to_vec();
        require!(axis < sizes.len(), "axis {axis} of {input}, which has {} axes", sizes.len());
        if let Some(index) = list.iter().find(|&&index| index >= sizes[axis]) {
            refuse!("index {index} of axis {axis} of {input}, which has {} there", sizes[axis]);
        }
        sizes[axis] = list.len();
        let mut indices = vec![Indices::ALL; sizes.len()];
        indices[axis] = Indices::List(list.into());
        Self::of(input, indices, sizes)
    }

    /// The last `count` indices of the first axis. Where the first dimension follows an extent they are the last ones that there are.
    ///
    /// ```
    /// use lowbit::{Graph, Tensor, TensorType, ops::Slice};
    /// let mut graph = Graph::new();
    /// let tokens = graph.extent("tokens", 8)?;
    /// let rows = graph.dynamic_input(TensorType::float32([8, 2])?, [(0, tokens)])?; // up to 8 tokens
    /// let last = graph.add(Slice::last(graph.tensor_type(rows)?.clone(), 1)?, &[rows])?;
    /// graph.output(last);
    /// let three = Tensor::new([3, 2], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// assert_eq!(graph.run_reference(&[&three])?[0].values::<f32>()?, [5.0, 6.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are fewer, also at a smaller extent.
    pub fn last(input: TensorType, count: usize) -> Result<Self> {
        let mut sizes = input.dims().to_vec();
        let begin = sizes.first().and_then(|&extent| extent.checked_sub(count));
        let Some(begin) = begin else {
            refuse!("the last {count} indices of the first axis of {input}: give it at least as many");
        };
        sizes[0] = count;
        let mut indices = vec![Indices::ALL; sizes.len()];
        indices[0] = Indices::Line { begin, step: 1 };
        Ok(Self { from_end: true, ..Self::of(input, indices, sizes)? })
    }

    fn of(input: TensorType, indices: Vec<Indices>, sizes: Vec<usize>) -> Result<Self> {
        check_moved(&input)?;
        let mut output = TensorType::new(input.dtype(), &sizes[..])?;
        if let Some(quantization) = input.quantization() {
            output = output.quantized(match quantization.granularity() {
                Granularity::Tensor => quantization.clone(),
                Granularity::Axis(axis) => {
                    let taken = || (0..sizes[axis]).map(|i| indices[axis].source(i));
                    let count = sizes[axis];
                    require!(
                        count <= quantization.scales().len().max(MOST_SCALES),
                        "the slice repeats the scales of {input} until there are {count} along axis {axis}, and at most {MOST_SCALES} are \
                         listed: dequantize it, or give it one scale"
                    );
                    let scales: Vec<f32> = taken().map(|i| quantization.scale(i)).collect();
                    let zero_points: Vec<i32> = taken().map(|i| quantization.zero_point(i)).collect();
                    // An empty axis has no scale, but needs a zero point.
                    let zero_points = if zero_points.is_empty() { vec![0] } else { zero_points };
                    Quantization::new(Granularity::Axis(axis), scales, zero_points)
                }
                granularity => {
                    require!(
                        false,
                        "{input} is quantized by {granularity:?}, which parts of it don't keep: dequantize it"
                    );
                    unreachable!()
                }
            })?;
        }
        if input.has_dynamic_scales() {
            output = output.with_dynamic_scales();
        }
        Ok(Self { input, indices, output, from_end: false })
    }

    /// True if an axis is unchanged.
    fn keeps(&self, axis: usize) -> bool {
        matches!(self.indices.get(axis), Some(Indices::Line { begin: 0, step: 1 }))
            && self.input.dims()[axis] == self.output.dims()[axis]
    }

    /// True if the first axis is unchanged.
    pub(super) fn keeps_rows(&self) -> bool {
        !self.from_end && self.keeps(0)
    }

    /// The selected indices of each axis.
    pub(crate) fn indices(&self) -> &[Indices] {
        &self.indices
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }
}

impl OpDef for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        if self.from_end {
            return Self::last(inputs[0].clone(), self.output.dims()[0]);
        }
        let mut sizes = self.output.dims().to_vec();
        for (axis, (&old, &new)) in self.input.dims().iter().zip(inputs[0].dims()).enumerate() {
            require!(
                old == new || self.keeps(axis),
                "a part of axis {axis} of {} is taken, so that there can't be {new} indices: Slice::last takes the end of the first axis",
                self.input
            );
            if old != new {
                sizes[axis] = new;
            }
        }
        Self::of(inputs[0].clone(), self.indices.clone(), sizes)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        self.keeps_rows().then(|| vec![true])
    }
}
