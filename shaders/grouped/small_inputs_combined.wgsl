// Small inputs: bias, experts and parameters of lhs, one after the other in one binding, for devices with few bindings. Written by
// grouped/combine_inputs.wgsl.
//# params indices_at, parameters_at

@group(0) @binding(3) var<storage, read> combined: array<u32>;

fn bias_value(index: u32) -> f32 {
    return bitcast<f32>(combined[index]);
}

fn expert_index(row: u32) -> u32 {
    return combined[params.indices_at + row];
}

fn lhs_parameter(index: u32) -> vec2<u32> {
    let at = params.parameters_at + index * 2u;
    return vec2<u32>(combined[at], combined[at + 1u]);
}
