// Values of float32 in rows of any length.
//# import attention/params

@group(0) @binding(4) var<storage, read> values: array<f32>;

fn load_value(row: u32, quad: u32) -> vec4<f32> {
    var value = vec4<f32>();
    for (var i = 0u; i < 4u && quad * 4u + i < params.value_d; i += 1u) {
        value[i] = values[row * params.value_d + quad * 4u + i];
    }
    return value;
}
