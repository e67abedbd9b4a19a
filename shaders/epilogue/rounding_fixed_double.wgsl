// Rounding::FixedDouble (gemmlowp): shift left with saturation, multiply by multiplier / 2^31 rounding half away from zero
// (half up below zero), then divide by 2^-shift rounding half away from zero.
//# import math/multiply_wide

fn rescale(acc: i32, multiplier: u32, shift: i32) -> i32 {
    let left = u32(max(shift, 0));
    let right = u32(max(-shift, 0));
    let limit = 0x7fffffff >> left;
    var shifted = acc << left;
    if (acc > limit) {
        shifted = 0x7fffffff;
    }
    if (acc < -limit - 1) {
        shifted = -0x7fffffff - 1;
    }
    let wide = multiply_wide(u32(abs(shifted)), multiplier);
    let nudge = select(0x40000000u, 0x3fffffffu, shifted < 0);
    let low = wide.y + nudge;
    let high = wide.x + select(0u, 1u, low < nudge);
    let magnitude = i32((high << 1u) | (low >> 31u));
    let product = select(magnitude, -magnitude, shifted < 0);
    let mask = (1 << right) - 1;
    let rest = product & mask;
    let threshold = (mask >> 1u) + select(0, 1, product < 0);
    return (product >> right) + select(0, 1, rest > threshold);
}
