// The quads of an invocation lie GROUP_X apart.
//# constants GROUP_X

const GATED: bool = false;

fn quad_of(first: u32, q: u32) -> u32 {
    return first + q * GROUP_X;
}

fn gated(gate: vec4<f32>, factor: vec4<f32>) -> vec4<f32> {
    return gate;
}
