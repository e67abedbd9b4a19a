// Grid: a learned step s (LSQ). v = x / s; y = clamp(round_ties_even(v)) · s, or without s if LEVELS. A gradient passes if
// low < v < high. Each step is one f32 operation on bits. s counts as the nearest positive normal number.
//# import math/float_bits
//# params high, low
//# constants LEVELS

@group(0) @binding(3) var<storage, read> parameters: array<u32>;             // f32 bits

// v for finite x; otherwise an infinity, the negative one for NaN.
fn steps(x: u32, index: u32) -> u32 {
    if ((x & ~F32_SIGN) >= F32_INFINITY) {
        return select(F32_SIGN | F32_INFINITY, F32_INFINITY, x == F32_INFINITY);
    }
    return f32_divide(x, f32_positive(parameters[index]));
}

fn inside(v: u32) -> bool {
    let key = f32_order(v);
    return key > f32_order(f32_from_i32(params.low)) && key < f32_order(f32_from_i32(params.high));
}

fn level_of(v: u32) -> i32 {
    return clamp(f32_round_to_i32(v), params.low, params.high);
}

fn fake_quantized(x: u32, index: u32) -> u32 {
    let real = f32_from_i32(level_of(steps(x, index)));
    return select(f32_multiply(real, f32_positive(parameters[index])), real, LEVELS);
}

fn passes(x: u32, index: u32) -> bool {
    // Both zeros count as +0, which is inside unless a bound is zero.
    let v = steps(x, index);
    return inside(select(v, 0u, (v & ~F32_SIGN) == 0u));
}

fn parameter_gradients(x: u32, index: u32) -> vec2<f32> {
    let v = steps(x, index);
    let level = f32_from_i32(level_of(v));
    let share = select(level, f32_add(level, v ^ F32_SIGN), passes(x, index));
    return vec2<f32>(bitcast<f32>(share), 0.0);
}
