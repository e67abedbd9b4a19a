// The two quads of an invocation are the same columns of two layers: out = function(gate) · factor.
//# import elementwise/float_function
//# import elementwise/function_constants
//# params first_end

const GATED: bool = true;

fn quad_of(first: u32, q: u32) -> u32 {
    return first + q * (params.first_end / 4u);
}

fn gated(gate: vec4<f32>, factor: vec4<f32>) -> vec4<f32> {
    let parameters = function_parameters();
    let low = vec2<f32>(function_of(gate.x, parameters), function_of(gate.y, parameters));
    let high = vec2<f32>(function_of(gate.z, parameters), function_of(gate.w, parameters));
    return vec4<f32>(low, high) * factor;
}
