// v = f32(sum + bias) · multiplier: a layer's sum in steps of its output, each operation one f32 operation on bits. stage_passes:
// the gradient passes v. step_gradient: the derivative of the output by its step. A sum that is NaN counts as 0, a multiplier of the
// table as the nearest positive normal number.
//# import math/float_bits
//# params high, low

fn biased(sum: u32, entry: vec4<u32>) -> u32 {
    return f32_from_i32(f32_truncate_to_i32(f32_finite(sum)) + bitcast<i32>(entry.x));
}

fn stage_steps(sum: u32, entry: vec4<u32>) -> u32 {
    return f32_multiply(biased(sum, entry), f32_positive(entry.y));
}

fn stage_level(steps: u32) -> u32 {
    return f32_from_i32(clamp(f32_round_to_i32(steps), params.low, params.high));
}

fn stage_passes(steps: u32) -> bool {
    // Zeros of either sign are the same bound.
    let key = f32_order(select(steps, 0u, (steps & ~F32_SIGN) == 0u));
    return key > f32_order(f32_from_i32(params.low)) && key < f32_order(f32_from_i32(params.high));
}

fn step_gradient(steps: u32) -> f32 {
    let level = stage_level(steps);
    return bitcast<f32>(select(level, f32_add(level, steps ^ F32_SIGN), stage_passes(steps)));
}
