// The parameters of a function that is part of another launch.
//# constants PARAMETER_A, PARAMETER_B

fn function_parameters() -> vec2<f32> {
    return vec2<f32>(bitcast<f32>(PARAMETER_A), bitcast<f32>(PARAMETER_B));
}
