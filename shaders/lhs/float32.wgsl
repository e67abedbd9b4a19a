// Lhs: f32 in dense rows.

@group(0) @binding(1) var<storage, read> lhs: array<vec4<f32>>;

fn load_lhs(at: u32, step: u32, half: u32, piece: u32) -> vec4<f32> {
    return lhs[at + step * 8u + half * 4u + piece];
}
