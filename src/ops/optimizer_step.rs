//! A training step: the update of parameters by their gradient. The meaning is `reference/optimizer_step.rs`, the GPU programs are
//! `kernels/train/optimizer_step.rs`.

use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// The update rule of parameters p with gradients g. Numbers are f32; each step is one f32 operation, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum OptimizerRule {
    /// `v ← momentum · v + g`, `p ← p − rate · v`: stochastic gradient descent.
    Sgd {
        /// The part of the last step that is kept, at least 0 and below 1.
        momentum: f32,
    },
    /// `m ← β₁ · m + (1 − β₁) · g`, `v ← β₂ · v + (1 − β₂) · g · g`, `p ← p − rate · (m / (√v + ε))`: Adam (arXiv 1412.6980). The
    /// corrections for the first steps are part of the rate ([`OptimizerStep::adam_rate`]).
    Adam {
        /// The part of the first moment that is kept, at least 0 and below 1.
        beta1: f32,
        /// The part of the second moment that is kept, at least 0 and below 1.
        beta2: f32,
        /// Keeps the quotient finite; above 0.
        epsilon: f32,
    },
}

impl OptimizerRule {
    /// Adam with β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
    #[must_use]
    pub fn adam() -> Self {
        Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }

    /// Number of moments per parameter.
    pub(crate) fn moments(self) -> usize {
        match self {
            Self::Sgd { .. } => 1,
            Self::Adam { .. } => 2,
        }
    }
}

/// Parameters after an optimizer step. Inputs: the parameters p (float32, any shape), their gradient, the moments of the rule
/// (float32 `[moments, elements]`, initially zeros) and the rate (float32 `[1]`, on the device so that it can change from step to
/// step). Outputs: the next parameters and the next moments.
///
/// Computed in integers, with equal bits on every device. A gradient beyond ±2^60 counts as ±2^60. The parameters, the moments, the
/// rate and its factor count as the nearest finite number, NaN as 0. A second moment below 0 counts as 0.
///
/// ```
/// use lowbit::{Tensor, ops::{OptimizerStep, OptimizerRule}, reference};
/// let tensor = |values: &[f32]| Tensor::new([2], values);
/// let (p, g, rate) = (tensor(&[1.0, 2.0])?, tensor(&[0.5, -4.0])?, Tensor::new([1], vec![0.125f32])?);
/// let moments = Tensor::new([1, 2], vec![0.0f32, 0.0])?;
/// let op = OptimizerStep::new(p.tensor_type().clone(), OptimizerRule::Sgd { momentum: 0.5 }).at_least(1.5).build()?;
/// let next = reference::run(&op.into(), &[&p, &g, &moments, &rate])?;
/// assert_eq!(next[0].values::<f32>()?, [1.5, 2.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OptimizerStep {
    pub(crate) parameters: TensorType,
    pub(crate) memory: TensorType,
    pub(crate) rule: OptimizerRule,
    pub(crate) least: f32,
}

/// Describes an [`OptimizerStep`]; made by [`OptimizerStep::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct OptimizerStepBuilder {
    parameters: TensorType,
    rule: OptimizerRule,
    least: f32,
}

impl OptimizerStepBuilder {
    /// A lower bound for parameters, for example to keep step sizes positive.
    pub fn at_least(mut self, least: f32) -> Self {
        self.least = least;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the parameters are not float32, or a number of the rule or the bound is out of range.
    pub fn build(self) -> Result<OptimizerStep> {
        let Self { parameters, rule, least } = self;
        require_float32("optimizer_step", "the parameters", &parameters)?;
        require!(least.is_finite(), "the least parameter is {least}, but it must be finite");
        let shares: &[(&str, f32)] = match &rule {
            OptimizerRule::Sgd { momentum } => &[("momentum", *momentum)],
            OptimizerRule::Adam { beta1, beta2, epsilon } => {
                require!(epsilon.is_normal() && *epsilon > 0.0, "Adam's epsilon is {epsilon}, but it must be above 0");
                &[("beta1", *beta1), ("beta2", *beta2)]
            }
        };
        for (name, share) in shares {
            require!((0.0..1.0).contains(share), "{name} is {share}, but it must be at least 0 and below 1");
        }
        let memory = TensorType::new(DType::Float32, [rule.moments(), parameters.shape().elements()])?;
        Ok(OptimizerStep { parameters, memory, rule, least })
    }
}

impl OptimizerStep {
    /// A builder for a step of parameters of this type, float32. The types of the gradient and the moments follow.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(parameters: TensorType, rule: OptimizerRule) -> OptimizerStepBuilder {
        OptimizerStepBuilder { parameters, rule, least: f32::MIN }
    }

    /// Adam's rate at a step (the first is 1): `rate · √(1 − β₂^step) / (1 − β₁^step)`.
    #[must_use]
    pub fn adam_rate(rate: f64, step: u32, beta1: f64, beta2: f64) -> f32 {
        let step = i32::try_from(step).unwrap_or(i32::MAX);
        (rate * (1.0 - beta2.powi(step)).sqrt() / (1.0 - beta1.powi(step))) as f32
    }
}

impl OpDef for OptimizerStep {
    fn name(&self) -> &'static str {
        "optimizer_step"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.parameters.clone(), self.parameters.clone(), self.memory.clone(), super::float_conv::one()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.parameters.clone(), self.memory.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        require!(
            inputs[0] == self.parameters,
            "{} parameters, but the op was made for {}: they don't follow a batch",
            inputs[0],
            self.parameters
        );
        Ok(self.clone())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
