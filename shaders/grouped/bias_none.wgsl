// Bias: none.

fn load_bias(expert: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}
