// Padding: the zero point of lhs.

@group(0) @binding(3) var<storage, read> lhs_parameters: array<vec2<u32>>;   // scale (f32 bits), zero point

fn gap(index: u32) -> u32 {
    return lhs_parameters[index].y;
}
