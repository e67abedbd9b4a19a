//! Scales and zero points, and their assignment to elements. The arithmetic is in `numeric`.

use super::Shape;
use crate::error::{Result, refuse, require};
use crate::numeric::DType;

/// The elements that share a scale and a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Granularity {
    /// All elements.
    Tensor,
    /// The elements of one index along an axis: per channel, per row, per column.
    Axis(usize),
    /// Runs of `size` elements along an axis; the last run may be shorter. Scales have the tensor's shape with this dimension
    /// divided by `size`, rounded up.
    Blocks {
        /// The divided axis.
        axis: usize,
        /// Number of elements in a block.
        size: usize,
    },
}

impl Granularity {
    /// Number of scales of a tensor with this shape.
    ///
    /// # Errors
    /// If the axis does not exist or a block is empty.
    pub fn parameters(self, shape: &Shape) -> Result<usize> {
        let (Self::Axis(axis) | Self::Blocks { axis, .. }) = self else { return Ok(1) };
        require!(axis < shape.rank(), "quantized along axis {axis}, but {shape} has {} dimensions", shape.rank());
        let Self::Blocks { size, .. } = self else { return Ok(shape.dims()[axis]) };
        require!(size > 0, "blocks of 0 elements along axis {axis}: a block holds at least 1");
        Ok(shape.dims().iter().enumerate().map(|(i, &d)| if i == axis { d.div_ceil(size) } else { d }).product())
    }

    /// The index of the scale of the element at a linear (row-major) index of a shape that fits this granularity.
    pub(crate) fn index(self, shape: &Shape, element: usize) -> usize {
        let dims = shape.dims();
        let inner = |axis: usize| dims[axis + 1..].iter().product::<usize>();
        match self {
            Self::Tensor => 0,
            Self::Axis(axis) => element / inner(axis) % dims[axis],
            Self::Blocks { axis, size } => {
                let (inner, extent) = (inner(axis), dims[axis]);
                let (outer, along) = (element / (inner * extent), element / inner % extent);
                (outer * extent.div_ceil(size) + along / size) * inner + element % inner
            }
        }
    }
}

/// Scales and zero points: `real = scale · (code − zero_point)`.
///
/// Scales are finite and positive; zero points lie in the range of the codes. Both are checked at the construction of a
/// [`TensorType`](super::TensorType).
#[derive(Debug, Clone)]
pub struct Quantization {
    granularity: Granularity,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
}

/// Equal if every element has equal parameters: one zero point for all scales equals a list of equal zero points.
impl PartialEq for Quantization {
    fn eq(&self, other: &Self) -> bool {
        let zero_points = |q: &Self| (0..q.scales.len()).map(|i| q.zero_point(i)).collect::<Vec<_>>();
        self.granularity == other.granularity && self.scales == other.scales && zero_points(self) == zero_points(other)
    }
}

impl Quantization {
    /// One scale and one zero point for all elements.
    #[must_use]
    pub fn tensor(scale: f32, zero_point: i32) -> Self {
        Self { granularity: Granularity::Tensor, scales: vec![scale], zero_points: vec![zero_point] }
    }

    /// Scales and zero points of any granularity. A single zero point serves all scales.
    #[must_use]
    pub fn new(granularity: Granularity, scales: impl Into<Vec<f32>>, zero_points: impl Into<Vec<i32>>) -> Self {
        Self { granularity, scales: scales.into(), zero_points: zero_points.into() }
    }

    /// One scale per index along `axis`, all zero points 0.
    #[must_use]
    pub fn symmetric_axis(axis: usize, scales: impl Into<Vec<f32>>) -> Self {
        Self::new(Granularity::Axis(axis), scales, [0])
    }

    /// The elements that share parameters.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// All scales.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The scale at an index from [`Granularity::index`].
    pub(crate) fn scale(&self, index: usize) -> f32 {
        self.scales[index]
    }

    /// The zero point at an index from [`Granularity::index`].
    pub(crate) fn zero_point(&self, index: usize) -> i32 {
        if self.zero_points.len() == 1 { self.zero_points[0] } else { self.zero_points[index] }
    }

    /// All zero points: one for all scales, or one per scale.
    #[must_use]
    pub fn zero_points(&self) -> &[i32] {
        &self.zero_points
    }

    /// True if every zero point is 0.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.zero_points.iter().all(|&z| z == 0)
    }

    /// These parameters along another axis.
    pub(crate) fn along(mut self, axis: usize) -> Self {
        self.granularity = Granularity::Axis(axis);
        self
    }

    pub(super) fn validate(&self, dtype: DType, shape: &Shape) -> Result<()> {
        let needed = self.granularity.parameters(shape)?;
        let (scales, zero_points) = (self.scales.len(), self.zero_points.len());
        require!(
            scales == needed,
            "{scales} scales were given, but {shape} quantized by {:?} needs {needed}",
            self.granularity
        );
        require!(
            zero_points == needed || zero_points == 1,
            "{zero_points} zero points were given, but {shape} quantized by {:?} needs {needed} or 1",
            self.granularity
        );
        if let Some(odd) = self.scales.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
            let scale = self.scales[odd];
            require!(
                scale != 0.0,
                "scale {odd} of {dtype} {shape} is 0 (an x_scale or y_scale in ONNX), so that every code means 0 and no number \
                 has a code: give a tensor of zeros instead, or all codes as the zero point with a scale of 1"
            );
            refuse!("scale {odd} of {dtype} {shape} is {scale:e}, but scales must be finite and positive");
        }
        let Some((low, high)) = dtype.range() else {
            require!(
                dtype.is_minifloat(),
                "a {dtype} tensor was given a scale: only integers and floats of at most 8 bits are quantized"
            );
            require!(self.is_symmetric(), "a {dtype} tensor was given a zero point other than 0: floats have none");
            return Ok(());
        };
        if let Some(zero_point) = self.zero_points.iter().find(|z| !(low..=high).contains(z)) {
            refuse!("a zero point is {zero_point}, but {dtype} codes lie in {low}..={high}");
        }
        require!(
            dtype != DType::Int32 || self.is_symmetric(),
            "an int32 tensor was given a zero point other than 0: accumulators and biases have none"
        );
        Ok(())
    }
}
