// Bias: an f32 per column, or per expert and column.
//# params bias_stride, experts, n
//# needs bias_value: grouped/small_inputs_bias, grouped/small_inputs_combined

fn load_bias(expert: u32, column: u32) -> vec4<f32> {
    let first = min(expert, params.experts - 1u) * params.bias_stride;
    let columns = min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n - 1u)) + vec4<u32>(first);
    return vec4<f32>(bias_value(columns.x), bias_value(columns.y), bias_value(columns.z), bias_value(columns.w));
}
