// Keys of float32 in rows of any length.
//# import attention/params

@group(0) @binding(2) var<storage, read> keys: array<f32>;

fn load_key(row: u32, quad: u32) -> vec4<f32> {
    var key = vec4<f32>();
    for (var i = 0u; i < 4u && quad * 4u + i < params.d; i += 1u) {
        key[i] = keys[row * params.d + quad * 4u + i];
    }
    return key;
}
