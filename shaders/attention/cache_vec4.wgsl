// Caches of float32 whose rows are whole vec4s.
//# constants QUADS, VALUE_QUADS

@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> values: array<vec4<f32>>;

fn load_key(row: u32, quad: u32) -> vec4<f32> {
    return keys[row * QUADS + quad];
}

fn load_value(row: u32, quad: u32) -> vec4<f32> {
    return values[row * VALUE_QUADS + quad];
}
