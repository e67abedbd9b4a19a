// Post-op of floats: out = value + residual, or value · residual if PRODUCT, elementwise. The residual has the output's shape.
//# import elementwise/float_combine

@group(0) @binding(7) var<storage, read> residual: array<f32>;

fn float_post_op(value: f32, at: u32) -> f32 {
    return combine(value, residual[at]);
}
