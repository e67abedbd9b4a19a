//! Ops that compute an output from few inputs: arithmetic, functions, windows, and reductions of rows.

pub(super) mod arg_max;
pub(super) mod binary;
pub(super) mod broadcast;
pub(super) mod float_binary;
pub(super) mod float_pool;
pub(super) mod float_unary;
pub(super) mod layer_norm;
pub(super) mod pool;
pub(super) mod quantized_softmax;
pub(super) mod reduce;
pub(super) mod rotary;
pub(super) mod row_lanes;
pub(super) mod select;
pub(super) mod softmax;
pub(super) mod table;
pub(super) mod top_k;
