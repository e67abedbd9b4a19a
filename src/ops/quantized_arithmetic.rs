//! The definitions of a quantized sum, product or average. Each op documents its own formulas; the meaning is `reference/binary.rs`
//! and `reference/pool.rs`.

use crate::error::{Result, require};
use crate::numeric::Rounding;

/// The rounding of an [`Add`](super::Add), [`Multiply`](super::Multiply) or average [`Pool`](super::Pool). The definitions differ
/// by one code if the real result lies near the middle between two codes; simple ratios of scales make this common.
///
/// Sources: the two formats of ONNX Runtime's quantized models. On x86-64 with FMA its CPU provider computes, bit for bit,
/// `QOperator` by default and `Qdq` with its optimizations off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuantizedArithmetic {
    /// As the kernels com.microsoft QLinearAdd, QLinearMul and QLinearAveragePool. ONNX Runtime also substitutes them for
    /// DequantizeLinear, the operator and QuantizeLinear in a graph. The zero point is added before the only rounding. Results
    /// saturate where ONNX Runtime's conversion to int32 overflows.
    QOperator,
    /// DequantizeLinear, the operator of ONNX in float32, QuantizeLinear: each step rounds to f32, and the zero point is
    /// added after the rounding to integers.
    Qdq,
    /// Integers only. The product of codes, or the sum of a window's, is exact; a multiplier rescales it once in any [`Rounding`]
    /// mode, and the zero point is added after that. In a sum of two tensors each operand is rescaled to a common finer scale
    /// first. With fixed-point rounding these are TFLite's MUL, MEAN, ADD and SUB.
    Integer,
    /// The mean of the codes themselves: an integer division, rounded half away from zero. Only an average pool has it, and its
    /// output keeps the input's scale and zero point. It is TFLite's AVERAGE_POOL_2D.
    Codes,
}

impl QuantizedArithmetic {
    /// The given arithmetic, or the default of the rounding mode.
    ///
    /// # Errors
    /// If the arithmetic can't do this rounding, or can't use explicit multipliers.
    pub(super) fn resolve(given: Option<Self>, rounding: Rounding, has_multipliers: bool) -> Result<Self> {
        let usual = if rounding == Rounding::Onnx { Self::QOperator } else { Self::Integer };
        let arithmetic = given.unwrap_or(usual);
        require!(
            arithmetic != Self::Codes,
            "QuantizedArithmetic::Codes is a mean of codes, which only an average pool has: use another QuantizedArithmetic"
        );
        require!(
            arithmetic == Self::Integer || rounding == Rounding::Onnx,
            "QuantizedArithmetic::{arithmetic:?} rounds in f32, but Rounding::{rounding:?} was asked for: it needs \
             QuantizedArithmetic::Integer"
        );
        require!(
            arithmetic != Self::Qdq || !has_multipliers,
            "QuantizedArithmetic::Qdq has scales where multipliers were given: use QuantizedArithmetic::QOperator or Integer"
        );
        Ok(arithmetic)
    }
}
