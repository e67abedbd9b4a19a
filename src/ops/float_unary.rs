//! Functions of single real numbers: the activations of float networks. The meaning is `reference/float_unary.rs`, the GPU
//! programs are `kernels/elementwise/float_unary.rs`. Functions of codes are in `table`.

use super::{OpDef, require_float32};
use crate::error::Result;
use crate::tensor::TensorType;

/// A function of one number, for [`FloatUnary`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x · sigmoid(x)` (also swish).
    Silu,
    /// `x · Φ(x) = x / 2 · (1 + erf(x / √2))` (Hendrycks and Gimpel, 2016, arXiv:1606.08415).
    Gelu,
    /// The tanh approximation of GELU, `x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 · x³)))`, which many models are trained with.
    GeluTanh,
}

/// `out[…] = function(x[…])`: a function of each element of a float32 tensor of any shape.
///
/// Exponentials are the device's. With u = 2⁻²³ and t = e^-|x|, the error of a result y is at most
///
/// ```text
/// relu        0
/// sigmoid     1.25 · u · ((3 + 2 · |x|) · t / (1 + t)² + 6 · y)
/// tanh        10 · u
/// silu        |x| times the error of sigmoid, and u · |y|
/// gelu        2⁻¹⁷ · |x| + 4 · u · |y|
/// gelu_tanh   |x| times the error of sigmoid at a = √(8 / π) · (x + 0.044715 · x³), 3 + 2 · |x| there being 3 + 8 · |a|; u · |y|
/// ```
///
/// plus 2⁻¹²⁰ · (1 + |x|), because small numbers may count as zero (relu: |x| below 2⁻¹²⁶). Results for NaN and infinity are
/// device-specific, because WGSL leaves them open.
///
/// ```
/// use lowbit::ops::{FloatUnary, Function};
/// use lowbit::{Tensor, reference};
/// let x = Tensor::new([3], vec![-1.0f32, 0.0, 1.0])?;
/// let op = FloatUnary::new(x.tensor_type().clone(), Function::Gelu)?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [-0.15865526, 0.0, 0.8413448]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FloatUnary {
    pub(crate) tensor_type: TensorType,
    pub(crate) function: Function,
}

impl FloatUnary {
    /// The function applied to tensors of type `input`.
    ///
    /// # Errors
    /// If the input is not float32.
    pub fn new(input: TensorType, function: Function) -> Result<Self> {
        require_float32("float_unary", "the input", &input)?;
        Ok(Self { tensor_type: input, function })
    }
}

impl OpDef for FloatUnary {
    fn name(&self) -> &'static str {
        "float_unary"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.tensor_type.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.tensor_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), self.function)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}
