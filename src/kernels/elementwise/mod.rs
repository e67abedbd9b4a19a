//! Ops that compute an output from few inputs: arithmetic, functions, windows, and reductions of rows.

#[cfg(feature = "float")]
pub(super) mod arg_max;
pub(super) mod binary;
pub(super) mod broadcast;
pub(super) mod channel_gate;
pub(super) mod float_binary;
#[cfg(feature = "float")]
pub(super) mod float_pool;
pub(super) mod float_unary;
#[cfg(feature = "float")]
pub(super) mod layer_norm;
pub(super) mod pool;
#[cfg(feature = "float")]
pub(super) mod quantized_softmax;
#[cfg(feature = "float")]
pub(super) mod reduce;
#[cfg(feature = "transformer")]
pub(super) mod rotary;
pub(super) mod row_lanes;
#[cfg(feature = "float")]
pub(super) mod select;
#[cfg(feature = "float")]
pub(super) mod softmax;
pub(super) mod table;
#[cfg(feature = "float")]
pub(super) mod top_k;
