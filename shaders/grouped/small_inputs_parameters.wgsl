// Small inputs: scales and zero points of lhs in a binding of their own.

@group(0) @binding(3) var<storage, read> lhs_parameters: array<vec2<u32>>;   // scale (f32 bits), zero point

fn lhs_parameter(index: u32) -> vec2<u32> {
    return lhs_parameters[index];
}
