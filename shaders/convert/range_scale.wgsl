// The scale (f32 bits) and zero point of codes from `low` to `high` for a range of convert/reduce_range.wgsl:
//
//     scale = (max - min) / (high - low)      zero_point = saturate(low + round_ties_even(-min / scale))
//
// SYMMETRIC: scale = max(max, -min) / high and zero_point = 0.
// Each step is one f32 operation. A scale of zero (an all-zero or vanishing range) becomes 1.
//# import math/float_bits
//# constants SYMMETRIC

fn range_scale(keys: vec2<u32>, low: i32, high: i32) -> vec2<u32> {
    let negative_min = f32_from_order(keys.x) ^ F32_SIGN;
    var span = min(f32_add(f32_from_order(keys.y), negative_min), F32_GREATEST);
    var steps_of_span = high - low;
    if (SYMMETRIC) {
        // Neither number is negative, so their bits have the order of the numbers; -0 becomes 0.
        span = max(f32_from_order(keys.y) & ~F32_SIGN, negative_min & ~F32_SIGN);
        steps_of_span = high;
    }
    var scale = f32_divide(span, f32_from_i32(steps_of_span));
    if (scale == 0u) {
        scale = 0x3f800000u;
    }
    let steps = f32_round_to_i32(f32_divide(negative_min, scale));
    let zero_point = select(clamp(steps, 0, high - low) + low, 0, SYMMETRIC);
    return vec2<u32>(scale, bitcast<u32>(zero_point));
}
