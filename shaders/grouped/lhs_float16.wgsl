// Lhs: f16, two per word. The device needs no f16 arithmetic.
//# needs f16x4_to_f32: math/float16_integers, math/float16_unpack

@group(0) @binding(1) var<storage, read> lhs: array<vec2<u32>>;

fn load_row(at: u32) -> vec4<f32> {
    return f16x4_to_f32(lhs[at]);
}
