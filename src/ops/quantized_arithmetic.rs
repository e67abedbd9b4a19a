//! Which of its definitions a sum, product or average of codes has. Each op's own formulas are with the op; the meaning is
//! `reference/binary.rs` and `reference/pool.rs`.

use crate::error::{Result, require};
use crate::numeric::Rounding;

/// How an [`Add`](super::Add), [`Multiply`](super::Multiply) or average [`Pool`](super::Pool) rounds. The definitions differ by one
/// code where the real result lies near the middle between two, which scales in simple proportions make common.
///
/// Sources: the two formats that ONNX Runtime gives quantized models. On x86-64 with FMA its CPU provider computes, bit for bit,
/// `QOperator` as it runs by default, and `Qdq` with its optimizations off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuantizedArithmetic {
    /// As the kernels com.microsoft QLinearAdd, QLinearMul and QLinearAveragePool, which also take the place of DequantizeLinear, the
    /// operator and QuantizeLinear in a graph: the zero point is added before the one rounding. Results saturate where
    /// ONNX Runtime's conversion to int32 overflows.
    QOperator,
    /// DequantizeLinear, the operator of ONNX in float32, QuantizeLinear: each step rounds to f32, and the zero point is
    /// added after the rounding to integers.
    Qdq,
    /// The sum or product of codes is an exact integer, which a multiplier rescales once in any [`Rounding`] mode; the zero point
    /// is added after that. TFLite's MUL with fixed-point rounding. A sum of two scales has no such integer.
    Integer,
}

impl QuantizedArithmetic {
    /// What is asked for, or by default what the rounding mode belongs to, if an op that has an exact integer can do it.
    pub(super) fn resolve(given: Option<Self>, rounding: Rounding, has_multipliers: bool) -> Result<Self> {
        let usual = if rounding == Rounding::Onnx { Self::QOperator } else { Self::Integer };
        let arithmetic = given.unwrap_or(usual);
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
