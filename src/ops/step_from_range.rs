//! The step of a grid, from an observed range. The meaning is `reference/step_from_range.rs`, the GPU program is
//! `kernels/calibrate/step_from_range.rs`.

use super::OpDef;
use super::observe::ObserveRange;
use crate::error::{Result, refuse, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// `out = max(min / low, max / high)` of the bounds in the state of an [`ObserveRange`](super::ObserveRange): the least step at
/// which codes `low..=high` with zero point 0 clip nothing. If this is not a positive normal number (nothing observed, or only
/// zeros), the step is unchanged. Bounds that are not finite count as the nearest finite number, NaN as 0.
///
/// Inputs: the state, int32 `[ranges, 6]`, and the current steps, float32 `[ranges]`. Output: the next steps. Each quotient is one
/// f32 operation, with equal bits on every device; a quotient by a code of 0 counts as 0. With moving averages, ranges follow the
/// activations of a network in training.
///
/// ```
/// use lowbit::{Granularity, Tensor, ops::{ObserveRange, RangeUpdate, StepFromRange}, reference};
/// let x = Tensor::new([3], vec![-1.0f32, 0.5, 7.5])?;
/// let observe = ObserveRange::new(x.tensor_type().clone(), Granularity::Tensor, RangeUpdate::MovingAverage { constant: 0.1 })?;
/// let op = StepFromRange::new(observe.state().clone(), (0, 15))?;
/// let state = reference::run(&observe.into(), &[&x, &Tensor::new([1, 6], vec![0i32; 6])?])?.remove(0);
/// let next = reference::run(&op.into(), &[&state, &Tensor::new([1], vec![0.1f32])?])?;
/// assert_eq!(next[0].values::<f32>()?, [0.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StepFromRange {
    pub(crate) state: TensorType,
    pub(crate) steps: TensorType,
    pub(crate) low: i32,
    pub(crate) high: i32,
}

impl StepFromRange {
    /// The steps of the ranges in a state of this type ([`ObserveRange::state`]), for these codes.
    ///
    /// # Errors
    /// If the state is not int32 `[ranges, 6]`, or the codes don't include 0, are all 0, or need more than 24 bits.
    pub fn new(state: TensorType, (low, high): (i32, i32)) -> Result<Self> {
        let (DType::Int32, &[ranges, ObserveRange::WORDS]) = (state.dtype(), state.dims()) else {
            refuse!(
                "the state is {state}, but it must be int32[ranges, {}]: give ObserveRange::state",
                ObserveRange::WORDS
            );
        };
        require!(
            low <= 0 && high >= 0 && low < high && low >= -(1 << 24) && high <= 1 << 24,
            "codes from {low} to {high}: the zero point 0 must be among them, and another, within 24 bits"
        );
        Ok(Self { state: state.without_scales(), steps: TensorType::new(DType::Float32, [ranges])?, low, high })
    }
}

impl OpDef for StepFromRange {
    fn name(&self) -> &'static str {
        "step_from_range"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.state.clone(), self.steps.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.steps.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), (self.low, self.high))
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
