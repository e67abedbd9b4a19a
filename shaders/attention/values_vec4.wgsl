// Values of float32 in rows of whole vec4s.
//# constants VALUE_QUADS

@group(0) @binding(4) var<storage, read> values: array<vec4<f32>>;

fn load_value(row: u32, quad: u32) -> vec4<f32> {
    return values[row * VALUE_QUADS + quad];
}
