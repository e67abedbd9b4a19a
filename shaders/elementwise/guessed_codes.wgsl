// Codes from a guess in floats, which decides unless it is so near the middle between two integers that its error could matter.
// There the caller computes exactly.

struct Guessed {
    codes: vec4<i32>,
    near: vec4<bool>,
}

// The integers nearest to x, at least low - 1 and at most high + 1, which are 2^22 in size at most. `error`: how far the guess and the
// number whose rounding is wanted may be apart.
fn guess_codes(x: vec4<f32>, error: vec4<f32>, low: i32, high: i32) -> Guessed {
    let inside = clamp(x, vec4<f32>(f32(low - 1)), vec4<f32>(f32(high + 1)));
    let whole = floor(inside);
    let side = (inside - whole) - 0.5;
    // The integer is what 3 · 2^22 more leaves in the mantissa: some compilers make branches of a conversion, which saturates.
    let below = bitcast<vec4<i32>>(bitcast<vec4<u32>>(whole + 0x1.8p23) & vec4<u32>(0x7fffffu)) - 0x400000;
    return Guessed(below + select(vec4<i32>(0), vec4<i32>(1), side > vec4<f32>(0.0)), abs(side) <= error);
}
