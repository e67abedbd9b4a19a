// Small inputs: the bias in a binding of its own.

@group(0) @binding(5) var<storage, read> bias: array<f32>;

fn bias_value(index: u32) -> f32 {
    return bias[index];
}
