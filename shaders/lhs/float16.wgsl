// Lhs: f16, two per word. The device needs no f16 arithmetic.

@group(0) @binding(1) var<storage, read> lhs: array<vec2<u32>>;

fn load_lhs(at: u32, step: u32, half: u32, piece: u32) -> vec4<f32> {
    return f16x4_to_f32(lhs[at + step * 8u + half * 4u + piece]);
}
