// 64-bit integers in two's complement, x the high word and y the low word, as in math/multiply_wide.wgsl.
// Twin: i64 in Rust; tests/int16.rs compares the two.

fn wide_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.y + b.y;
    return vec2<u32>(a.x + b.x + select(0u, 1u, low < a.y), low);
}

fn wide_negated(value: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(~value.x + select(0u, 1u, value.y == 0u), ~value.y + 1u);
}

fn wide_from_i32(value: i32) -> vec2<u32> {
    return bitcast<vec2<u32>>(vec2<i32>(value >> 31u, value));
}

// 256 · high + low
fn wide_from_halves(high: i32, low: i32) -> vec2<u32> {
    return wide_add(bitcast<vec2<u32>>(vec2<i32>(high >> 24u, high << 8u)), wide_from_i32(low));
}

// (value + 2^(right - 1)) >> right for right from 1 to 62, saturated to i32: to nearest, ties up.
fn wide_divided(value: vec2<u32>, right: u32) -> i32 {
    let half = right - 1u;
    let bit = 1u << (half & 31u);
    let sum = wide_add(value, select(vec2<u32>(0u, bit), vec2<u32>(bit, 0u), half >= 32u));
    let high = bitcast<i32>(sum.x);
    if (right >= 32u) {
        return high >> (right - 32u);
    }
    // The result is bits [right, right + 32) of the sum; it fits i32 exactly when the bits above all equal its sign.
    if ((high >> half) != (high >> 31u)) {
        return select(0x7fffffff, -0x7fffffff - 1, high < 0);
    }
    return bitcast<i32>((sum.y >> right) | (sum.x << (32u - right)));
}
