// The two quads of an invocation are the same columns of two layers: out = function(gate) · factor.
//# import elementwise/float_function
//# params first_end

const GATED: bool = true;

fn quad_of(first: u32, q: u32) -> u32 {
    return first + q * (params.first_end / 4u);
}

fn gated(gate: vec4<f32>, factor: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(function_of(gate.x), function_of(gate.y), function_of(gate.z), function_of(gate.w)) * factor;
}
