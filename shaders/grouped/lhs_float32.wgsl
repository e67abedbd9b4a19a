// Lhs: f32 in dense rows.

@group(0) @binding(1) var<storage, read> lhs: array<vec4<f32>>;

fn load_row(at: u32) -> vec4<f32> {
    return lhs[at];
}
