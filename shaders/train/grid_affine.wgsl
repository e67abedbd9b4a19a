// Grid: scale s and zero point z. y = (clamp(round_ties_even(x / s) + z) - z) · s, or without s if LEVELS. A gradient
// passes if round_ties_even(x / s) + z is a code. Each step is one f32 operation on bits. s counts as the nearest positive
// normal number, z as the nearest code.
//# import math/float_bits
//# params high, low
//# constants LEVELS

@group(0) @binding(3) var<storage, read> parameters: array<vec2<u32>>;       // scale (f32 bits), zero point

fn fake_quantized(x: u32, index: u32) -> u32 {
    let scale = f32_positive(parameters[index].x);
    let zero_point = clamp(bitcast<i32>(parameters[index].y), params.low, params.high);
    let least = params.low - zero_point;
    let most = params.high - zero_point;
    var level = select(least, most, x == F32_INFINITY);
    if ((x & ~F32_SIGN) < F32_INFINITY) {
        level = clamp(f32_round_to_i32(f32_divide(x, scale)), least, most);
    }
    let real = f32_from_i32(level);
    return select(f32_multiply(real, scale), real, LEVELS);
}

fn passes(x: u32, index: u32) -> bool {
    let zero_point = clamp(bitcast<i32>(parameters[index].y), params.low, params.high);
    if ((x & ~F32_SIGN) >= F32_INFINITY) {
        return false;
    }
    let level = f32_round_to_i32(f32_divide(x, f32_positive(parameters[index].x)));
    return level >= params.low - zero_point && level <= params.high - zero_point;
}
