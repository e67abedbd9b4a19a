// An operation on two numbers; OPERATION selects one, and REVERSED exchanges them.
//
// Meaning: reference/float_binary.rs.
//# import elementwise/float_steps
//# import math/float_bits
//# constants OPERATION, REVERSED

const ADD: u32 = 0u;
const SUBTRACT: u32 = 1u;
const MULTIPLY: u32 = 2u;
const DIVIDE: u32 = 3u;
const POWER: u32 = 4u;
const MINIMUM: u32 = 5u;
const MAXIMUM: u32 = 6u;
const EQUAL: u32 = 7u;
const LESS: u32 = 8u;

const NOT_A_NUMBER: u32 = 0x7fc00000u;
const ONE: u32 = 0x3f800000u;

// x^y by products if y is a small integer, of which every prefix of bits is a power too: none is larger than the result, or all are
// at most 1. Else by logarithm.
fn power(x: f32, y: f32) -> f32 {
    let whole = floor(y) == y;
    if (whole && abs(y) <= 32.0) {
        let base = select(x, quotient(1.0, x), y < 0.0);
        let count = u32(abs(y));
        var product = 1.0;
        for (var bit = 0u; bit < 6u; bit += 1u) {
            product *= product;
            product *= select(1.0, base, ((count >> (5u - bit)) & 1u) == 1u);
        }
        return product;
    }
    if (y == 0.5) {
        return root(x);
    }
    if (y == -0.5) {
        return inverseSqrt(x);
    }
    let size = exp2(clamp(y * log2(max(abs(x), 0x1p-126)), -150.0, 128.0));
    let is_odd = 2.0 * floor(0.5 * y) != y;
    // Subnormal bases count as zero.
    return select(select(size, -size, x < 0.0 && is_odd), 0.0, abs(x) < 0x1p-126);
}

// Numbers in order; both zeros are equal.
fn number_key(word: u32) -> u32 {
    return f32_order(select(word, 0u, word == F32_SIGN));
}

fn combine(first: u32, second: u32) -> u32 {
    let a = select(first, second, REVERSED);
    let b = select(second, first, REVERSED);
    let x = bitcast<f32>(a);
    let y = bitcast<f32>(b);
    if (OPERATION == ADD) {
        return bitcast<u32>(x + y);
    }
    if (OPERATION == SUBTRACT) {
        return bitcast<u32>(x - y);
    }
    if (OPERATION == MULTIPLY) {
        return bitcast<u32>(x * y);
    }
    if (OPERATION == DIVIDE) {
        return bitcast<u32>(quotient(x, y));
    }
    if (OPERATION == POWER) {
        return select(bitcast<u32>(power(x, y)), NOT_A_NUMBER, x < 0.0 && floor(y) != y);
    }
    // The rest moves words and compares them, so it is exact.
    let has_nan = f32_is_nan(a) || f32_is_nan(b);
    if (OPERATION == MINIMUM) {
        return select(select(b, a, f32_order(a) < f32_order(b)), NOT_A_NUMBER, has_nan);
    }
    if (OPERATION == MAXIMUM) {
        return select(select(a, b, f32_order(a) < f32_order(b)), NOT_A_NUMBER, has_nan);
    }
    if (OPERATION == EQUAL) {
        return select(0u, ONE, !has_nan && number_key(a) == number_key(b));
    }
    if (OPERATION == LESS) {
        return select(0u, ONE, !has_nan && number_key(a) < number_key(b));
    }
    return select(0u, ONE, !has_nan && number_key(a) <= number_key(b));
}
