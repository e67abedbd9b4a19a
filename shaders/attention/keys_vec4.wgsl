// Keys of float32 in rows of whole vec4s.
//# constants QUADS

@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>;

fn load_key(row: u32, quad: u32) -> vec4<f32> {
    return keys[row * QUADS + quad];
}
