// Post-op of floats: out = value ∘ residual, elementwise, as elementwise/float_binary.wgsl computes it. The residual has the
// output's shape.
//# import elementwise/float_combine

@group(0) @binding(7) var<storage, read> residual: array<f32>;

fn float_post_op(value: f32, at: u32) -> f32 {
    return bitcast<f32>(combine(bitcast<u32>(value), bitcast<u32>(residual[at])));
}
