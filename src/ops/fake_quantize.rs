//! Fake quantization for training: float32 numbers rounded to a grid of codes, and the gradients of that. The meaning is
//! `reference/fake_quantize.rs`, the GPU programs are `kernels/train/fake_quantize.rs`.

use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, TensorType};

/// The parameters of a grid, which also determine its gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grid {
    /// Scale `s` and zero point `z` ([`DType::Parameters`], one per range): `y = (clamp(round_ties_even(x / s) + z) − z) · s`. A
    /// gradient passes if the rounded code, before the clamp, lies in the range (straight-through with a clip mask; torch
    /// fake_quantize).
    Affine,
    /// A learned step size `s` (float32, one per range): `y = clamp(round_ties_even(x / s)) · s`. A gradient passes if
    /// `low < x / s < high`. The gradient of the step is
    /// `g · Σ dy · (low where x / s ≤ low, high where x / s ≥ high, else round_ties_even(x / s) − x / s)` (LSQ, arXiv 1902.08153).
    Step,
    /// The least and greatest number (float32 pairs, one per range), nudged so that zero is on the grid. A gradient passes between
    /// the nudged bounds. The gradient of each bound is the sum of the gradients beyond it. This is the sequence of f32 operations
    /// of TensorFlow's fake_quant_with_min_max_vars.
    Range,
}

/// float32 numbers rounded to the grid of a quantization. Inputs: the numbers and the grid's parameters, both on the device.
///
/// Every step is one f32 operation, with equal bits on every device. NaN becomes the least code; infinities saturate. Scales and
/// steps count as the nearest positive normal number, NaN as the least one, and zero points as the nearest code. The scale of a
/// range counts in the same way; its bounds, and the numbers computed from them, count as the nearest finite number, NaN as 0. The
/// reference returns an error for a scale of [`Grid::Affine`] that is not finite and positive.
///
/// ```
/// use lowbit::{Granularity, Tensor, ops::{FakeQuantize, Grid}, reference};
/// let x = Tensor::new([5], vec![0.24f32, 0.26, -3.0, 9.0, 0.75])?;
/// let step = Tensor::new([1], vec![0.5f32])?;
/// let grid = FakeQuantize::new(x.tensor_type().clone(), Grid::Step, Granularity::Tensor, (-4, 3));
/// assert_eq!(reference::run(&grid.clone().build()?.into(), &[&x, &step])?[0].values::<f32>()?, [0.0, 0.5, -2.0, 1.5, 1.0]);
/// let levels = reference::run(&grid.levels().build()?.into(), &[&x, &step])?;
/// assert_eq!(levels[0].values::<f32>()?, [0.0, 1.0, -4.0, 3.0, 2.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FakeQuantize {
    pub(crate) input: TensorType,
    pub(crate) parameters: TensorType,
    pub(crate) grid: Grid,
    pub(crate) granularity: Granularity,
    pub(crate) low: i32,
    pub(crate) high: i32,
    pub(crate) levels: bool,
}

/// Describes a [`FakeQuantize`]; made by [`FakeQuantize::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FakeQuantizeBuilder {
    input: TensorType,
    grid: Grid,
    granularity: Granularity,
    codes: (i32, i32),
    levels: bool,
}

impl FakeQuantizeBuilder {
    /// Makes integer levels: codes minus the zero point, as float32, without the scale. Products and sums of these whole numbers are
    /// exact below 2^24.
    pub fn levels(mut self) -> Self {
        self.levels = true;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the input is not float32, the granularity doesn't fit it, or the codes `low..=high` are fewer than two or need more than 16
    /// bits. Also if levels are asked of a [`Grid::Range`]: its numbers are not multiples of a step.
    pub fn build(self) -> Result<FakeQuantize> {
        let Self { input, grid, granularity, codes: (low, high), levels } = self;
        require_float32("fake_quantize", "the input", &input)?;
        require!(
            low < high && low >= -32_768 && high <= 65_535,
            "codes from {low} to {high}: a grid has at least two, within -32,768 to 65,535"
        );
        let ranges = granularity.parameters(input.shape())?;
        let parameters = match grid {
            Grid::Affine => TensorType::new(DType::Parameters, [ranges])?,
            Grid::Step => TensorType::new(DType::Float32, [ranges])?,
            Grid::Range => TensorType::new(DType::Float32, [ranges, 2])?,
        };
        require!(
            !levels || grid != Grid::Range,
            "a grid between two bounds has no levels: use Grid::Affine or Grid::Step"
        );
        Ok(FakeQuantize { input, parameters, grid, granularity, low, high, levels })
    }
}

impl FakeQuantize {
    /// A builder for a grid of codes `low..=high` for tensors of type `input`, float32. The type of the grid's parameters follows.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(
        input: TensorType,
        grid: Grid,
        granularity: Granularity,
        (low, high): (i32, i32),
    ) -> FakeQuantizeBuilder {
        FakeQuantizeBuilder { input, grid, granularity, codes: (low, high), levels: false }
    }

    /// The types of the op's inputs and of its output's gradient.
    fn with_gradient(&self) -> Vec<TensorType> {
        vec![self.input.clone(), self.parameters.clone(), self.input.clone()]
    }

    /// Number of elements that share parameters.
    pub(crate) fn per_range(&self) -> usize {
        self.input.shape().elements() / self.parameters.dims()[0].max(1)
    }
}

impl OpDef for FakeQuantize {
    fn name(&self) -> &'static str {
        "fake_quantize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone(), self.parameters.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let builder = Self::new(inputs[0].clone(), self.grid, self.granularity, (self.low, self.high));
        let resized = FakeQuantizeBuilder { levels: self.levels, ..builder }.build()?;
        require!(
            resized.parameters == self.parameters,
            "{} needs {} parameters, but the op was made for {}: the granularity must not depend on the first dimension where \
             its extent changes",
            resized.input,
            resized.parameters,
            self.parameters
        );
        Ok(resized)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        let follows = match self.granularity {
            Granularity::Tensor => true,
            Granularity::Axis(axis) | Granularity::Blocks { axis, .. } => axis > 0,
        };
        (follows && !matches!(self.granularity, Granularity::Blocks { .. })).then(|| vec![true, false])
    }
}

/// The gradient of a [`FakeQuantize`] with respect to its numbers. Inputs: the numbers, the parameters, and the gradient `dy` of
/// the output. Output: `dy` or 0 for each number, as [`Grid`] documents. Exact, with equal bits on every device.
///
/// ```
/// use lowbit::{Granularity, Tensor, ops::{FakeQuantize, FakeQuantizeGradient, Grid}, reference};
/// let x = Tensor::new([4], vec![0.5f32, 1.25, -9.0, 2.0])?;
/// let (step, dy) = (Tensor::new([1], vec![1.0f32])?, Tensor::new([4], vec![1.0f32, 2.0, 4.0, 8.0])?);
/// let forward = FakeQuantize::new(x.tensor_type().clone(), Grid::Step, Granularity::Tensor, (-4, 3)).build()?;
/// let dx = reference::run(&FakeQuantizeGradient::new(forward)?.into(), &[&x, &step, &dy])?;
/// assert_eq!(dx[0].values::<f32>()?, [1.0, 2.0, 0.0, 8.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FakeQuantizeGradient {
    pub(crate) forward: FakeQuantize,
}

impl FakeQuantizeGradient {
    /// The gradient of a fake quantization.
    ///
    /// # Errors
    /// None today.
    pub fn new(forward: FakeQuantize) -> Result<Self> {
        Ok(Self { forward })
    }
}

impl OpDef for FakeQuantizeGradient {
    fn name(&self) -> &'static str {
        "fake_quantize_gradient"
    }

    fn inputs(&self) -> Vec<TensorType> {
        self.forward.with_gradient()
    }

    fn outputs(&self) -> Vec<TensorType> {
        self.forward.outputs()
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Ok(Self { forward: self.forward.with_inputs(inputs)? })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        self.forward.inputs_by_row().map(|_| vec![true, false, true])
    }
}

/// The gradients of the parameters of a [`FakeQuantize`] with [`Grid::Step`] or [`Grid::Range`]. Inputs: its numbers, its
/// parameters, and the gradient `dy` of its output. Output: a tensor of the parameters' type, as [`Grid`] documents.
///
/// The n terms of a sum are f32 products, added in f32 in a device-specific order. Each result lies within
/// `(min(n, 8192 + n / 8192) + 4) · 2^-22 · g · Σ |terms|` of the true sum, plus the loss from numbers below 2^-126 that count as
/// zero. There is no bound if `Σ |terms|`, with or without g, leaves float32.
///
/// ```
/// use lowbit::{Granularity, Tensor, ops::{FakeQuantize, GridGradient, Grid}, reference};
/// let x = Tensor::new([4], vec![0.5f32, 1.25, -9.0, 2.0])?;
/// let (step, dy) = (Tensor::new([1], vec![1.0f32])?, Tensor::new([4], vec![1.0f32, 2.0, 4.0, 8.0])?);
/// let forward = FakeQuantize::new(x.tensor_type().clone(), Grid::Step, Granularity::Tensor, (-4, 3)).build()?;
/// let gradient = reference::run(&GridGradient::new(forward, 0.5)?.into(), &[&x, &step, &dy])?;
/// assert_eq!(gradient[0].values::<f32>()?, [0.5 * (-0.5 - 0.25 * 2.0 - 4.0 * 4.0)]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GridGradient {
    pub(crate) forward: FakeQuantize,
    pub(crate) gradient_scale: f32,
}

impl GridGradient {
    /// The gradients of a grid's parameters, multiplied by `gradient_scale`: LSQ's g = 1 / √(n · high) for n elements per step
    /// ([`lsq_scale`](Self::lsq_scale)), or 1.
    ///
    /// # Errors
    /// If the grid is [`Grid::Affine`], which has no learned parameters, or the scale is not finite.
    pub fn new(forward: FakeQuantize, gradient_scale: f32) -> Result<Self> {
        require!(
            forward.grid != Grid::Affine,
            "an affine grid has no gradients of its parameters: use Grid::Step or Grid::Range"
        );
        require!(gradient_scale.is_finite(), "the gradient scale is {gradient_scale}, but it must be finite");
        Ok(Self { forward, gradient_scale })
    }

    /// LSQ's g for a fake quantization: 1 / √(n · high) for n elements per step; 1 if there is no element.
    #[must_use]
    pub fn lsq_scale(forward: &FakeQuantize) -> f32 {
        let product = forward.per_range() as f64 * f64::from(forward.high.max(1));
        if product > 0.0 { (1.0 / product.sqrt()) as f32 } else { 1.0 }
    }
}

impl OpDef for GridGradient {
    fn name(&self) -> &'static str {
        "grid_gradient"
    }

    fn inputs(&self) -> Vec<TensorType> {
        self.forward.with_gradient()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.forward.parameters.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Ok(Self { forward: self.forward.with_inputs(inputs)?, gradient_scale: self.gradient_scale })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
