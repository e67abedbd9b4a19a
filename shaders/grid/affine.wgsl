// Grid: scale s and zero point z. y = (clamp(round_ties_even(x / s) + z) - z) · s, or without s where LEVELS; a gradient
// passes where round_ties_even(x / s) + z is a code. Each step is one f32 operation on bits.

@group(0) @binding(3) var<storage, read> parameters: array<vec2<u32>>;       // scale (f32 bits), zero point

fn fake(x: u32, index: u32) -> u32 {
    let entry = parameters[index];
    let zero_point = bitcast<i32>(entry.y);
    let least = params.low - zero_point;
    let most = params.high - zero_point;
    var level = select(least, most, x == F32_INFINITY);
    if ((x & ~F32_SIGN) < F32_INFINITY) {
        level = clamp(f32_round_to_i32(f32_divide(x, entry.x)), least, most);
    }
    let real = f32_from_i32(level);
    return select(f32_multiply(real, entry.x), real, LEVELS);
}

fn passes(x: u32, index: u32) -> bool {
    let entry = parameters[index];
    let zero_point = bitcast<i32>(entry.y);
    if ((x & ~F32_SIGN) >= F32_INFINITY) {
        return false;
    }
    let level = f32_round_to_i32(f32_divide(x, entry.x));
    return level >= params.low - zero_point && level <= params.high - zero_point;
}
