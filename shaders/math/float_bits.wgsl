// IEEE 754 binary32 arithmetic on bit patterns, in integers: round to nearest, ties to even, subnormals kept. WGSL lets a driver
// round either way, fuse, flush and assume that NaN is absent; integers leave no such freedom. NaN is never an operand, and
// infinity is one of a sum only: callers test the bits first. Twin: Rust's f32; tests/arithmetic.rs compares.
//# import math/multiply_wide

// |x| = bits · 2^(exponent - 31), where bit 31 of `bits` is set unless x is zero.
struct Magnitude {
    exponent: i32,
    bits: u32,
}

const F32_SIGN: u32 = 0x80000000u;
const F32_INFINITY: u32 = 0x7f800000u;
const F32_GREATEST: u32 = 0x7f7fffffu;                      // the largest finite number
const F32_LEAST: u32 = 0xff7fffffu;
const F32_LEAST_NORMAL: u32 = 0x00800000u;                  // the least positive normal number

// The finite number nearest to x, 0 for NaN. Twin: numeric/mod.rs.
fn f32_finite(word: u32) -> u32 {
    return select((word & F32_SIGN) | min(word & ~F32_SIGN, F32_GREATEST), 0u, f32_is_nan(word));
}

// The positive normal number nearest to x, the least one for NaN. Twin: numeric/mod.rs.
fn f32_positive(word: u32) -> u32 {
    return select(clamp(word, F32_LEAST_NORMAL, F32_GREATEST), F32_LEAST_NORMAL, word > F32_INFINITY);
}

fn f32_magnitude(word: u32) -> Magnitude {
    let field = (word >> 23u) & 0xffu;
    let fraction = word & 0x7fffffu;
    if (field == 0u) {
        let shift = countLeadingZeros(fraction) & 31u;
        return Magnitude(-118 - i32(shift), fraction << shift);
    }
    return Magnitude(i32(field) - 127, (fraction | 0x800000u) << 8u);
}

// The f32 nearest to ±bits · 2^(exponent - 31). Bit 0 of `bits` is sticky: it is set if any bit below was cut off.
fn f32_pack(sign: u32, exponent: i32, bits: u32) -> u32 {
    if (bits == 0u) {
        return sign;
    }
    var kept = bits;
    var biased = exponent + 127;
    if (biased > 254) {
        return sign | F32_INFINITY;
    }
    if (biased < 1) {                                       // subnormal: drop low bits, keep them sticky
        let shift = u32(min(1 - biased, 31));
        kept = (bits >> shift) | select(0u, 1u, (bits << (32u - shift)) != 0u);
        biased = 1;
    }
    let rest = kept & 0xffu;
    var rounded = kept >> 8u;
    rounded += select(0u, 1u, rest > 0x80u || (rest == 0x80u && (rounded & 1u) == 1u));
    return sign | min((u32(biased - 1) << 23u) + rounded, F32_INFINITY);
}

fn f32_from_i32(value: i32) -> u32 {
    let magnitude = u32(abs(value));
    let shift = countLeadingZeros(magnitude) & 31u;
    return f32_pack(bitcast<u32>(value) & F32_SIGN, 31 - i32(shift), magnitude << shift);
}

fn f32_multiply(a: u32, b: u32) -> u32 {
    let x = f32_magnitude(a);
    let y = f32_magnitude(b);
    let product = multiply_wide(x.bits, y.bits);
    let shift = countLeadingZeros(product.x) & 1u;          // 0 or 1: both factors have bit 31 set
    let top = select(product.x, (product.x << 1u) | (product.y >> 31u), shift == 1u);
    let sticky = select(0u, 1u, (product.y << shift) != 0u);
    let bits = select(top | sticky, 0u, x.bits == 0u || y.bits == 0u);
    return f32_pack((a ^ b) & F32_SIGN, x.exponent + y.exponent + 1 - i32(shift), bits);
}

// f32(a) · b for |a| < 256.
fn f32_multiple(a: i32, b: u32) -> u32 {
    let x = f32_magnitude(b);
    let product = u32(abs(a)) * (x.bits >> 8u);
    let shift = countLeadingZeros(product) & 31u;
    return f32_pack((bitcast<u32>(a) ^ b) & F32_SIGN, x.exponent + 8 - i32(shift), product << shift);
}

fn f32_add(a: u32, b: u32) -> u32 {
    let swap = (a & ~F32_SIGN) < (b & ~F32_SIGN);
    let large = select(a, b, swap);
    let small = select(b, a, swap);
    if ((large & ~F32_SIGN) >= F32_INFINITY) {
        return large;
    }
    let x = f32_magnitude(large);
    let y = f32_magnitude(small);
    if (y.bits == 0u) {
        return select(large, large & small, x.bits == 0u);  // -0 only from -0 + -0
    }
    let shift = u32(min(x.exponent - y.exponent, 31));
    let aligned = y.bits >> 1u;                             // one bit of headroom for the carry, seven guard bits
    let cut = select(0u, 1u, (aligned & ((1u << shift) - 1u)) != 0u);
    let addend = (aligned >> shift) | cut;
    let sum = select((x.bits >> 1u) + addend, (x.bits >> 1u) - addend, ((large ^ small) & F32_SIGN) != 0u);
    if (sum == 0u) {
        return 0u;
    }
    let lead = countLeadingZeros(sum);
    return f32_pack(large & F32_SIGN, x.exponent + 1 - i32(lead), sum << lead);
}

// a / b for b ≠ 0: a float guess of 25 quotient bits, corrected by its remainder, which becomes the sticky bit.
//
// x and y are 24-bit integers, X in Y … 2Y - 1 after the shift. The quotient is floor(2^24 X / Y), in 2^24 … 2^25. The guess is
// wrong by as many units as the device's reciprocal and product are ULP off, some ten. Below 127 units (63 ULP), 2^24 X - guess · Y
// is below 2^31 in size, so wrapping integers hold it exactly. Dividing it by Y estimates the guess's error in units. That
// estimate, below 127, is right to a unit, and the last two lines correct it.
fn f32_divide(a: u32, b: u32) -> u32 {
    let sign = (a ^ b) & F32_SIGN;
    let x = f32_magnitude(a);
    let y = f32_magnitude(b);
    let divisor = y.bits >> 8u;
    let less = x.bits < y.bits;
    let dividend = select(x.bits >> 8u, x.bits >> 7u, less);
    let reciprocal = 1.0 / f32(divisor);
    let guess = u32(f32(dividend) * reciprocal * 16777216.0);
    let rest = bitcast<i32>((dividend << 24u) - guess * divisor);
    let off = i32(floor(f32(rest) * reciprocal));
    var quotient = guess + bitcast<u32>(off);
    var remainder = rest - off * i32(divisor);
    let low = remainder < 0;
    let high = remainder >= i32(divisor);
    quotient = select(select(quotient, quotient + 1u, high), quotient - 1u, low);
    remainder = select(select(remainder, remainder - i32(divisor), high), remainder + i32(divisor), low);
    let bits = (quotient << 7u) | select(0u, 1u, remainder != 0);
    return f32_pack(sign, x.exponent - y.exponent - select(0, 1, less), select(bits, 0u, x.bits == 0u));
}

// The integer nearest to x, ties to even, saturated to the i32 range.
fn f32_round_to_i32(word: u32) -> i32 {
    let negative = (word & F32_SIGN) != 0u;
    let exponent = i32((word >> 23u) & 0xffu) - 127;
    if (exponent < -1) {
        return 0;
    }
    if (exponent > 30) {
        return select(0x7fffffff, -0x7fffffff - 1, negative);
    }
    let significand = (word & 0x7fffffu) | 0x800000u;
    var whole = 0u;
    if (exponent >= 23) {
        whole = significand << u32(exponent - 23);
    } else {
        let shift = u32(23 - exponent);                     // 1 to 24
        let rest = significand & ((1u << shift) - 1u);
        let half = 1u << (shift - 1u);
        whole = significand >> shift;
        whole += select(0u, 1u, rest > half || (rest == half && (whole & 1u) == 1u));
    }
    return select(i32(whole), -i32(whole), negative);
}

// The integer part of x, saturated to the i32 range.
fn f32_truncate_to_i32(word: u32) -> i32 {
    let negative = (word & F32_SIGN) != 0u;
    let exponent = i32((word >> 23u) & 0xffu) - 127;
    if (exponent < 0) {
        return 0;
    }
    if (exponent > 30) {
        return select(0x7fffffff, -0x7fffffff - 1, negative);
    }
    let significand = (word & 0x7fffffu) | 0x800000u;
    let whole = select(significand >> u32(max(23 - exponent, 0)), significand << u32(max(exponent - 23, 0)), exponent >= 23);
    return select(i32(whole), -i32(whole), negative);
}

// A key with the order of the numbers: f32_order(a) < f32_order(b) exactly when a < b (and -0 < +0).
fn f32_order(word: u32) -> u32 {
    return select(word | F32_SIGN, ~word, (word & F32_SIGN) != 0u);
}

fn f32_from_order(key: u32) -> u32 {
    return select(~key, key & ~F32_SIGN, (key & F32_SIGN) != 0u);
}

fn f32_is_nan(word: u32) -> bool {
    return (word & ~F32_SIGN) > F32_INFINITY;
}
