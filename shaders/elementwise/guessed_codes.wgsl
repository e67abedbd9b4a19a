// Codes from a guess in floats. The guess decides unless it is within its error of the middle between two integers. There the
// caller computes exactly.

struct Guessed {
    codes: vec4<i32>,
    near: vec4<bool>,
}

// The integers nearest to x, clamped to low - 1 … high + 1, which must be at most 2^22 in size. `error` bounds the distance of the
// guess from the number to round.
fn guess_codes(x: vec4<f32>, error: vec4<f32>, low: i32, high: i32) -> Guessed {
    let inside = clamp(x, vec4<f32>(f32(low - 1)), vec4<f32>(f32(high + 1)));
    let whole = floor(inside);
    let side = (inside - whole) - 0.5;
    // The integer is the mantissa of x + 3 · 2^22: some compilers turn a conversion, which saturates, into branches.
    let below = bitcast<vec4<i32>>(bitcast<vec4<u32>>(whole + 0x1.8p23) & vec4<u32>(0x7fffffu)) - 0x400000;
    return Guessed(below + select(vec4<i32>(0), vec4<i32>(1), side > vec4<f32>(0.0)), abs(side) <= error);
}
