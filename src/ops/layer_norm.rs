//! Normalization of rows to a common mean and variance. The meaning is `reference/layer_norm.rs`, the GPU program is
//! `kernels/elementwise/layer_norm.rs`.

use std::sync::Arc;

use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::tensor::{Tensor, TensorType};

/// `out[…, i] = (x[…, i] − mean) / √(variance + epsilon) · scale[i] + shift[i]`, with the mean and variance of each row (the last
/// dimension) of a float32 tensor.
///
/// [`without_mean`](LayerNormBuilder::without_mean) is RMSNorm: the mean counts as 0. The variance is `Σ (x − mean)² / n`.
///
/// Any row of finite numbers is normalized. If the largest magnitude of a row is above 1, the row and √epsilon are first divided by
/// a power of two near it. The division changes no digit of the result.
///
/// The error bound follows from the rule that either neighbour of an exact result is right for each operation (u = 2⁻²³). The mean
/// is off by `e = (n + 4) · u · Σ |x| / n`. Each difference from the mean is off by `e + u · (|x − mean| + e)`. The variance is off
/// by the effect of these errors and by `(n + 6) · u` of itself. The quotient is off by 6 · u more. Divided numbers below 2⁻¹²⁶ may
/// count as zero. [`reference::tolerance`](crate::reference::tolerance) computes the bound. It is infinite if the result, or its
/// product with the scale, may leave float32. Results for NaN and infinity are device-specific, because WGSL leaves them open.
///
/// Sources: ONNX LayerNormalization over the last axis (Ba et al., 2016, arXiv:1607.06450); RMSNorm (Zhang and Sennrich, 2019,
/// arXiv:1910.07467).
///
/// ```
/// use lowbit::{Tensor, ops::LayerNorm, reference};
/// let x = Tensor::new([1, 4], vec![1.0f32, 3.0, 1.0, 3.0])?;
/// let ones = Tensor::new([4], vec![1.0f32; 4])?;
/// let shift = Tensor::new([4], vec![0.0f32, 0.0, 5.0, 5.0])?;
/// let op = LayerNorm::new(x.tensor_type().clone(), ones, 1e-12).shift(shift).build()?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [-1.0, 1.0, 4.0, 6.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LayerNorm {
    pub(crate) tensor_type: TensorType,
    pub(crate) scale: Arc<Tensor>,
    pub(crate) shift: Option<Arc<Tensor>>,
    pub(crate) epsilon: f32,
    pub(crate) centred: bool,
}

/// Describes a [`LayerNorm`]; made by [`LayerNorm::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LayerNormBuilder {
    input: TensorType,
    scale: Arc<Tensor>,
    shift: Option<Arc<Tensor>>,
    epsilon: f32,
    centred: bool,
}

impl LayerNormBuilder {
    /// Adds the float32 `[n]` shift to each row.
    pub fn shift(mut self, shift: impl Into<Arc<Tensor>>) -> Self {
        self.shift = Some(shift.into());
        self
    }

    /// Makes this RMSNorm: no mean is subtracted, and the variance is the mean of x².
    pub fn without_mean(mut self) -> Self {
        self.centred = false;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the input is not float32 or has no dimension, the scale or the shift doesn't have the length of a row or is not finite, or
    /// epsilon is not positive.
    pub fn build(self) -> Result<LayerNorm> {
        let Self { input: tensor_type, scale, shift, epsilon, centred } = self;
        require_float32("layer_norm", "the input", &tensor_type)?;
        require!(tensor_type.shape().rank() > 0, "a scalar has no row to be normalized: reshape it to [1]");
        require!(
            epsilon.is_normal() && epsilon > 0.0,
            "epsilon is {epsilon:e}, but it must be finite and positive: rows of one number would be divided by 0"
        );
        LayerNorm::check("scale", &scale, &tensor_type)?;
        if let Some(shift) = &shift {
            LayerNorm::check("shift", shift, &tensor_type)?;
        }
        Ok(LayerNorm { tensor_type, scale, shift, epsilon, centred })
    }
}

impl LayerNorm {
    /// A builder for the normalization of tensors of type `input`; `scale` is float32 `[n]`, with n the length of a row.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(input: TensorType, scale: impl Into<Arc<Tensor>>, epsilon: f32) -> LayerNormBuilder {
        LayerNormBuilder { input, scale: scale.into(), shift: None, epsilon, centred: true }
    }

    fn check(name: &str, given: &Tensor, rows: &TensorType) -> Result<()> {
        let n = rows.shape().row_length();
        require!(
            given.dims() == [n],
            "the {name} is {}, but rows of {rows} have {n} elements: give float32 [{n}]",
            given.tensor_type()
        );
        let odd = given.values::<f32>()?.iter().find(|x| !x.is_finite());
        require!(odd.is_none(), "the {name} holds {}, but it must be finite", odd.unwrap_or(&0.0));
        Ok(())
    }
}

impl OpDef for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.tensor_type.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.tensor_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        require!(
            inputs[0].shape().row_length() == self.tensor_type.shape().row_length(),
            "rows of {} don't follow a batch: give the tensor a dimension before them",
            self.tensor_type
        );
        Ok(Self { tensor_type: inputs[0].clone(), ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.inputs()[0].shape().rank() > 1).then(|| vec![true])
    }
}
