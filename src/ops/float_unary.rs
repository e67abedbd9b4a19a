//! Functions of single real numbers: the activations of float networks. The meaning is `reference/float_unary.rs`, the GPU
//! programs are `kernels/elementwise/float_unary.rs`. Functions of codes are in `table`.

use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::tensor::TensorType;

/// A function of one number, for [`FloatUnary`].
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// `√x`.
    Sqrt,
    /// `e^x`.
    Exp,
    /// The natural logarithm.
    Log,
    /// `|x|`.
    Abs,
    /// `-x`.
    Negate,
    /// `1 / x`.
    Reciprocal,
    /// The error function, `2 / √π · ∫ e^-t² dt` from 0 to x.
    Erf,
    /// The greatest integer that is at most x.
    Floor,
    /// The least integer that is at least x.
    Ceil,
    /// The nearest integer, of two the even one.
    Round,
    /// `log(1 + e^x)`.
    Softplus,
    /// `max(0, min(1, alpha · x + beta))`.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// `x · max(0, min(1, x / 6 + 1/2))`.
    HardSwish,
    /// `min(max(x, low), high)` (ONNX Clip). `f32::MIN` and `f32::MAX` leave an end open.
    Clamp {
        /// The least result.
        low: f32,
        /// The greatest result.
        high: f32,
    },
    /// `x`, or `alpha · x` below 0.
    LeakyRelu {
        /// The slope below 0.
        alpha: f32,
    },
    /// `x`, or `alpha · (e^x - 1)` below 0 (Clevert et al., 2015, arXiv:1511.07289).
    Elu {
        /// The limit below 0, negated.
        alpha: f32,
    },
    /// 1 if x is not a number, else 0. The bits of x tell it; the ops that make x need not give NaN where IEEE 754 does.
    IsNan,
}

impl Function {
    /// One of each kind, for tests that have to try every function.
    #[cfg(any(test, feature = "unstable-kernels"))]
    pub const EACH: [Self; 23] = [
        Self::Relu,
        Self::Sigmoid,
        Self::Tanh,
        Self::Silu,
        Self::Gelu,
        Self::GeluTanh,
        Self::Sqrt,
        Self::Exp,
        Self::Log,
        Self::Abs,
        Self::Negate,
        Self::Reciprocal,
        Self::Erf,
        Self::Floor,
        Self::Ceil,
        Self::Round,
        Self::Softplus,
        Self::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Self::HardSwish,
        Self::Clamp { low: -1.0, high: 6.0 },
        Self::LeakyRelu { alpha: 0.01 },
        Self::Elu { alpha: 1.5 },
        Self::IsNan,
    ];

    /// Its parameters; 0 for those that it doesn't have.
    pub(crate) fn parameters(self) -> [f32; 2] {
        match self {
            Self::HardSigmoid { alpha, beta } => [alpha, beta],
            Self::Clamp { low, high } => [low, high],
            Self::LeakyRelu { alpha } | Self::Elu { alpha } => [alpha, 0.0],
            _ => [0.0, 0.0],
        }
    }

    /// Its steepest slope; `None` if a small error of x may become a large one.
    pub(crate) fn slope(self) -> Option<f64> {
        Some(match self {
            Self::Sqrt
            | Self::Exp
            | Self::Log
            | Self::Reciprocal
            | Self::Floor
            | Self::Ceil
            | Self::Round
            | Self::IsNan => {
                return None;
            }
            Self::Relu
            | Self::Sigmoid
            | Self::Tanh
            | Self::Abs
            | Self::Negate
            | Self::Softplus
            | Self::Clamp { .. } => 1.0,
            // SiLU's is 1.0998 at 2.3994, GELU's 1.1290 at √2, that of erf 2 / √π at 0.
            Self::Silu | Self::Gelu | Self::GeluTanh | Self::Erf => 1.13,
            Self::HardSwish => 1.5,
            Self::HardSigmoid { alpha, .. } => f64::from(alpha.abs()),
            Self::LeakyRelu { alpha } | Self::Elu { alpha } => f64::from(alpha.abs()).max(1.0),
        })
    }
}

/// `out[…] = function(x[…])`: a function of each element of a float32 tensor of any shape.
///
/// Exponentials, logarithms and roots are the device's. With u = 2⁻²³ and t = e^-|x|, the error of a result y is at most
///
/// ```text
/// relu, abs, negate, clamp, floor, ceil, round, is_nan     0
/// sigmoid        1.25 · u · ((3 + 2 · |x|) · t / (1 + t)² + 6 · y)
/// tanh           10 · u
/// silu           |x| times the error of sigmoid, and u · |y|
/// gelu           2⁻¹⁷ · |x| + 4 · u · |y|
/// gelu_tanh      |x| times the error of sigmoid at a = √(8 / π) · (x + 0.044715 · x³), 3 + 2 · |x| there 3 + 8 · |a|; u · |y|
/// sqrt           5 · u · y
/// exp            (3 + 2 · |x|) · u · y
/// log            4 · u for x from 1/2 to 2, else 3 · u · |y|
/// reciprocal     2.5 · u · |y|
/// erf            24 · u · |y|
/// softplus       u · ((12 + 2 · |x|) · log(1 + t) + y)
/// hard_sigmoid   u · (|alpha · x| + |alpha · x + beta|), as far as the clamp lets it pass
/// hard_swish     2 · u · |x|, as far as the clamp lets it pass, and u · |y|
/// leaky_relu     u · |y|
/// elu            0; below 0 u · |alpha| · ((3 + 2 · |x|) · t + 1)
/// ```
///
/// plus 2⁻¹²⁰ · (1 + |x|) · max(1, |alpha|), because small numbers may count as zero. For the first line, for roots, logarithms and
/// reciprocals, and as a factor of alpha that is any |x| below 2⁻¹²⁶. Results for NaN, infinity and numbers outside the function's
/// domain, and results beyond float32, are device-specific, because WGSL leaves them open; those of `IsNan` are not.
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
    /// If the input is not float32, a parameter of the function is not finite, or a clamp's low is above its high.
    pub fn new(input: TensorType, function: Function) -> Result<Self> {
        require_float32("float_unary", "the input", &input)?;
        require!(
            function.parameters().iter().all(|parameter| parameter.is_finite()),
            "{function:?} has a parameter that is not finite: f32::MIN and f32::MAX leave an end of a clamp open"
        );
        if let Function::Clamp { low, high } = function {
            require!(
                low <= high,
                "low is {low:e} and high is {high:e}, but no number lies between them: exchange them"
            );
        }
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
