//! Requantization of a fake-quantized layer in training, and its gradients. It computes each step of the integer layer's
//! requantization in float32, with learned steps. The meaning is `reference/fake_requantize.rs`, the GPU programs are
//! `kernels/train/fake_requantize.rs`.

use super::float_conv::one;
use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// The parameters of a layer's requantization, computed from steps on the device. Inputs: the step `x` of the layer's input
/// (float32 `[1]`), the steps `w` of its weights and its bias `b` (float32 `[channels]`), and the step `y` of its output (`[1]`).
///
/// The output is int32 `[channels, 4]`: the bias as a whole number `round_ties_even(b / (x · w))`, the bits of the multiplier
/// `(x · w) / y`, the bits of `x · w`, and 0. Each step is one f32 operation, with equal bits on every device.
/// [`Conv`](super::Conv) uses equal numbers for a scale per tensor, weights with a scale per output, an int32 bias and
/// [`Rounding::Onnx`](crate::Rounding::Onnx). Steps, and their products and quotients, count as the nearest positive normal number,
/// NaN as the least. The bias counts as the nearest finite number, NaN as 0.
///
/// ```
/// use lowbit::{Tensor, ops::RequantParams, reference};
/// let one = |x| Tensor::new([1], vec![x]);
/// let (weights, bias) = (Tensor::new([1], vec![0.25f32])?, Tensor::new([1], vec![-3.0f32])?);
/// let op = RequantParams::new(weights.tensor_type().clone())?;
/// let table = reference::run(&op.into(), &[&one(0.5f32)?, &weights, &bias, &one(2.0)?])?;
/// assert_eq!(table[0].values::<i32>()?, [-24, 0.0625f32.to_bits() as i32, 0.125f32.to_bits() as i32, 0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RequantParams {
    pub(crate) channels: TensorType,
    pub(crate) table: TensorType,
}

impl RequantParams {
    /// The table for steps of weights of this type, float32 `[channels]`. The bias has the same type; the other steps are single
    /// numbers.
    ///
    /// # Errors
    /// If the type is not float32 with one dimension, or there are too many channels for a tensor.
    pub fn new(weight_steps: TensorType) -> Result<Self> {
        require_float32("requant_params", "the steps of the weights", &weight_steps)?;
        let rank = weight_steps.shape().rank();
        require!(
            rank == 1,
            "the steps of the weights are {weight_steps} with {rank} dimensions, but they must be [channels]: reshape them"
        );
        let table = TensorType::new(DType::Int32, [weight_steps.dims()[0], 4])?;
        Ok(Self { channels: weight_steps, table })
    }
}

impl OpDef for RequantParams {
    fn name(&self) -> &'static str {
        "requant_params"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![one(), self.channels.clone(), self.channels.clone(), one()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.table.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        require!(
            inputs[1] == self.channels,
            "{} steps of weights, but the table was made for {}: channels don't follow a batch",
            inputs[1],
            self.channels
        );
        Ok(self.clone())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}

/// The output of a [`FakeRequantize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FakeRequantizeOutput {
    /// `clamp(round_ties_even(v))` with `v = f32(sum + bias) · multiplier`: the codes of the integer layer, as float32.
    Levels,
    /// `f32(sum + bias) · (x · w)`: real numbers, equal to those of the integer layer with a real output.
    Real,
    /// The gradient of the sums, in real numbers. `dy`, a third input, is the gradient of the layer's real output. The result is
    /// `dy` where `low < v < high`, else 0 (LSQ; with `low` 0 this includes ReLU).
    Gradient,
    /// The gradient of the output's step (float32 `[1]`): `g · Σ dy · (low where v ≤ low, high where v ≥ high, else
    /// round_ties_even(v) − v)` (LSQ, arXiv 1902.08153), with the bound of [`GridGradient`](super::GridGradient).
    StepGradient,
}

/// The requantization of whole-number sums (float32 `[…, channels]`, magnitudes up to 2^24) by [`RequantParams`], or its gradient.
/// Inputs: the sums, the table, and for gradients the gradient of the real output. Exact, with equal bits on every device, except
/// for [`FakeRequantizeOutput::StepGradient`]. The zero point is 0. A table may hold any words: its multipliers are corrected as
/// [`RequantParams`] corrects steps. A sum that is NaN counts as 0.
///
/// ```
/// use lowbit::{Tensor, ops::{FakeRequantize, FakeRequantizeOutput}, reference};
/// let sums = Tensor::new([1, 3], vec![-5.0f32, 10.0, 1000.0])?;
/// let entry = [1, 0.5f32.to_bits() as i32, 0.25f32.to_bits() as i32, 0];
/// let table = Tensor::new([3, 4], [entry; 3].concat())?;
/// let make = |output| FakeRequantize::new(sums.tensor_type().clone(), output, (0, 15)).build();
/// let levels = make(FakeRequantizeOutput::Levels)?;
/// assert_eq!(reference::run(&levels.into(), &[&sums, &table])?[0].values::<f32>()?, [0.0, 6.0, 15.0]);
/// let real = make(FakeRequantizeOutput::Real)?;
/// assert_eq!(reference::run(&real.into(), &[&sums, &table])?[0].values::<f32>()?, [-1.0, 2.75, 250.25]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FakeRequantize {
    pub(crate) sums: TensorType,
    pub(crate) table: TensorType,
    pub(crate) makes: FakeRequantizeOutput,
    pub(crate) low: i32,
    pub(crate) high: i32,
    pub(crate) gradient_scale: f32,
}

/// Describes a [`FakeRequantize`]; made by [`FakeRequantize::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FakeRequantizeBuilder {
    sums: TensorType,
    makes: FakeRequantizeOutput,
    codes: (i32, i32),
    gradient_scale: f32,
}

impl FakeRequantizeBuilder {
    /// A factor of the step's gradient, 1 by default: LSQ's g.
    pub fn gradient_scale(mut self, gradient_scale: f32) -> Self {
        self.gradient_scale = gradient_scale;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the sums are not float32 or have no dimension of channels, the codes `low..=high` are fewer than two or need more than 16
    /// bits, or the factor is not finite.
    pub fn build(self) -> Result<FakeRequantize> {
        let Self { sums, makes, codes: (low, high), gradient_scale } = self;
        require_float32("fake_requantize", "the sums", &sums)?;
        require!(sums.shape().rank() > 0, "sums without a dimension have no channels");
        require!(
            low < high && low >= -32_768 && high <= 65_535,
            "codes from {low} to {high}: a grid has at least two, within -32,768 to 65,535"
        );
        require!(gradient_scale.is_finite(), "the gradient scale is {gradient_scale}, but it must be finite");
        let table = RequantParams::new(TensorType::float32([sums.shape().row_length()])?)?.table;
        Ok(FakeRequantize { sums, table, makes, low, high, gradient_scale })
    }
}

impl FakeRequantize {
    /// A builder for the requantization of sums of this type, float32 `[…, channels]`, to codes `low..=high`. The type of the table
    /// follows.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(sums: TensorType, makes: FakeRequantizeOutput, (low, high): (i32, i32)) -> FakeRequantizeBuilder {
        FakeRequantizeBuilder { sums, makes, codes: (low, high), gradient_scale: 1.0 }
    }

    fn reads_gradient(&self) -> bool {
        matches!(self.makes, FakeRequantizeOutput::Gradient | FakeRequantizeOutput::StepGradient)
    }
}

impl OpDef for FakeRequantize {
    fn name(&self) -> &'static str {
        "fake_requantize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let gradient = self.reads_gradient().then(|| self.sums.clone());
        [self.sums.clone(), self.table.clone()].into_iter().chain(gradient).collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![if self.makes == FakeRequantizeOutput::StepGradient { one() } else { self.sums.clone() }]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let builder = Self::new(inputs[0].clone(), self.makes, (self.low, self.high));
        let resized = builder.gradient_scale(self.gradient_scale).build()?;
        require!(
            resized.table == self.table,
            "{} needs a table {}, but the op was made for {}: channels don't follow a batch",
            resized.sums,
            resized.table,
            self.table
        );
        Ok(resized)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        let by_row = self.makes != FakeRequantizeOutput::StepGradient && self.sums.shape().rank() > 1;
        by_row.then(|| if self.reads_gradient() { vec![true, false, true] } else { vec![true, false] })
    }
}
