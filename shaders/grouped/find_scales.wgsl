// groups[r, g] = (scale, shift, error)  for the numbers of a group of weights     first half of quantizing weights
//
//     group g of row r   | 0 1 2 … 31 | 32 33 …      Lane i of 32 sums numbers i, i + 32, …; then the upper half of the
//                          lane 0 … 31  lane 0 …     lanes is added to the lower half, five times.
//
// A group that the format can't hold (a number is not finite, or the rule's scale or offset is clamped) has an infinite scale.
// Otherwise RULE makes a scale of the group's range. Then `factors` multiples of that range are tried, from params.first on, and
// the scale with the least squared error is kept. Numbers are bit patterns, and each operation is one f32 operation, done in
// integers, with equal bits on every device. GROUP_X invocations own a group (and its lanes); a workgroup owns GROUP_Y groups.
//
// Meaning: weights/quantize.rs. Candidates: kernels/grouped/quantize_weights.rs. Second half: grouped/pack_codes.wgsl.
//# import math/linear_index
//# import math/float_bits
//# import math/float16_bits
//# import grouped/weight_code
//# needs weighted: grouped/importance_*
//# constants DIVISOR, GROUP_X, GROUP_Y, HIGH, LOW, REFIT, RULE, SCALE_BYTES, SEARCH, SHIFT, SHIFT_BYTES, TIGHT

struct Params {
    k: u32,               // numbers of a row
    group: u32,           // numbers of a group
    groups: u32,          // groups of a row
    total: u32,           // groups of all rows
    turns: u32,           // numbers of a lane
    first: u32,           // first factor to try; a launch from 0 on starts with the rule's own scale
    factors: u32,         // number of factors to try
    least: u32,           // f32 bits of factor 0; the next field: difference of neighbouring factors
    step: u32,
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

const LANES: u32 = 32u;
const RULE_DIVIDED: u32 = 0u;                               // greatest |x| / DIVISOR
const RULE_SIGNED: u32 = 1u;                                // x of greatest |x| / LOW
const RULE_UNCLIPPED: u32 = 2u;
const RULE_SPAN: u32 = 3u;                                  // (max - min) / DIVISOR
const ONE: u32 = 0x3f800000u;
const HALF: u32 = 0x3f000000u;
const F16_GREATEST: u32 = 0x477fe000u;                      // 65504

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(6) var<storage, read_write> found: array<vec4<u32>>;      // scale, shift, error

var<workgroup> lanes: array<vec4<u32>, LANES * GROUP_Y>;

// The numbers of a group.
struct Numbers {
    at: u32,                                                // begin in the input
    column: u32,                                            // column of the first number
    count: u32,
    lanes_at: u32,
    turns: u32,                                             // numbers of a lane
    exponent: i32,                                          // sums are in units of this power of two
}

struct Group {
    scale: u32,
    shift: u32,
}

fn plus_zero(word: u32) -> u32 {
    return select(word, 0u, is_zero(word));
}

fn negative(word: u32) -> u32 {
    return word ^ F32_SIGN;
}

fn f32_less(a: u32, b: u32) -> bool {
    return f32_order(a) < f32_order(b);
}

fn f32_max(a: u32, b: u32) -> u32 {
    return select(a, b, f32_less(a, b));
}

// x · 2^exponent
fn times_power(word: u32, exponent: i32) -> u32 {
    let x = f32_magnitude(word);
    return f32_pack(word & F32_SIGN, x.exponent + exponent, x.bits);
}

fn half(word: u32) -> u32 {
    let bits = f16_from_f32(word);
    return plus_zero(f32_from_f16((bits & 0x8000u) | min(bits & 0x7fffu, 0x7bffu)));
}

// The scale rounded to the format of scales.
fn stored_scale(scale: u32) -> u32 {
    let word = plus_zero(scale);
    if (SCALE_BYTES == 2u) {
        return half(word);
    }
    if (SCALE_BYTES == 1u) {                                // the next power of two
        let exponent = (word >> 23u) + select(0u, 1u, (word & 0x7fffffu) != 0u);
        return select(min(exponent, 254u) << 23u, 0x400000u, word <= 0x400000u);
    }
    return f32_finite(word);
}

fn stored_offset(word: u32) -> u32 {
    if (SHIFT_BYTES == 2u) {
        return half(word);
    }
    return plus_zero(word);
}

// The rule's scale of a range, before it is rounded to the format of scales.
fn rule_scale(least: u32, greatest: u32) -> u32 {
    let low = f32_from_i32(LOW);
    var scale = 0u;
    if (RULE == RULE_DIVIDED) {
        scale = f32_divide(f32_max(negative(least), greatest), DIVISOR);
    } else if (RULE == RULE_SIGNED) {
        scale = f32_divide(select(least, greatest, f32_less(negative(least), greatest)), low);
    } else if (RULE == RULE_UNCLIPPED) {
        scale = f32_max(f32_divide(least, low), f32_divide(greatest, f32_from_i32(HIGH)));
    } else {
        scale = f32_divide(f32_finite(f32_add(greatest, negative(least))), DIVISOR);
    }
    return scale;
}

// The rule's scale and shift of a range.
fn of_range(least: u32, greatest: u32) -> Group {
    let low = f32_from_i32(LOW);
    let scale = stored_scale(rule_scale(least, greatest));
    var shift = 0u;
    if (SHIFT == SHIFT_OFFSET) {
        shift = stored_offset(f32_finite(f32_add(least, negative(f32_multiply(scale, low)))));
    } else if (SHIFT != SHIFT_NONE && !is_zero(scale)) {
        let steps = f32_divide(negative(least), scale);
        if (SHIFT == SHIFT_REAL) {
            shift = plus_zero(f32_finite(f32_add(low, steps)));
        } else {
            shift = bitcast<u32>(LOW + clamp(f32_round_to_i32(steps), 0, HIGH - LOW));
        }
    }
    return Group(scale, shift);
}

// True if `half` did not clamp the number.
fn below_f16(word: u32) -> bool {
    return (word & ~F32_SIGN) < F16_GREATEST;
}

// The dequantized number of x.
fn real_of(x: u32, group: Group) -> u32 {
    let integer = weight_integer(x, group.scale, group.shift);
    if (SHIFT == SHIFT_INTEGER) {
        return f32_multiply(f32_from_i32(integer - bitcast<i32>(group.shift)), group.scale);
    }
    if (SHIFT == SHIFT_REAL) {
        return f32_multiply(f32_add(f32_from_i32(integer), negative(group.shift)), group.scale);
    }
    let product = f32_multiply(f32_from_i32(integer), group.scale);
    if (SHIFT == SHIFT_OFFSET) {
        return f32_add(product, group.shift);
    }
    return product;
}

// True if all numbers of a range stay finite. Codes have the order of the numbers or the opposite one, so both ends are enough.
fn stays_finite(least: u32, greatest: u32, group: Group) -> bool {
    return is_finite(real_of(least, group)) && is_finite(real_of(greatest, group));
}

// True if the rule's scale and shift of a range are not clamped.
fn holds(least: u32, greatest: u32, group: Group) -> bool {
    var whole = stays_finite(least, greatest, group);
    if (RULE == RULE_SPAN) {
        whole = whole && is_finite(f32_add(greatest, negative(least)));
    }
    if (SCALE_BYTES == 2u) {
        whole = whole && below_f16(group.scale) && (SHIFT_BYTES != 2u || below_f16(group.shift));
    } else if (SCALE_BYTES == 1u) {
        whole = whole && !f32_less(group.scale, rule_scale(least, greatest));
    }
    return whole;
}

// The sums over all lanes.
fn total(numbers: Numbers, lane: u32) -> vec4<u32> {
    workgroupBarrier();
    for (var half_lanes = LANES / 2u; half_lanes > 0u; half_lanes /= 2u) {
        for (var i = lane; i < half_lanes; i += GROUP_X) {
            let a = lanes[numbers.lanes_at + i];
            let b = lanes[numbers.lanes_at + i + half_lanes];
            lanes[numbers.lanes_at + i] =
                vec4<u32>(f32_add(a.x, b.x), f32_add(a.y, b.y), f32_add(a.z, b.z), f32_add(a.w, b.w));
        }
        workgroupBarrier();
    }
    let sums = lanes[numbers.lanes_at];
    workgroupBarrier();
    return sums;
}

// The least and greatest number, and 1 if one is not finite.
fn range(numbers: Numbers, lane: u32) -> vec3<u32> {
    for (var l = lane; l < LANES; l += GROUP_X) {
        var keys = vec2<u32>(f32_order(0u));
        if (TIGHT) {
            keys = vec2<u32>(0xffffffffu, 0u);
        }
        var odd = 0u;
        for (var turn = 0u; turn < numbers.turns; turn += 1u) {
            let i = turn * LANES + l;
            if (i < numbers.count) {
                let word = input[numbers.at + i];
                odd |= select(1u, 0u, is_finite(word));
                let key = f32_order(plus_zero(f32_finite(word)));
                keys = vec2<u32>(min(keys.x, key), max(keys.y, key));
            }
        }
        lanes[numbers.lanes_at + l] = vec4<u32>(keys, odd, 0u);
    }
    workgroupBarrier();
    for (var half_lanes = LANES / 2u; half_lanes > 0u; half_lanes /= 2u) {
        for (var i = lane; i < half_lanes; i += GROUP_X) {
            let a = lanes[numbers.lanes_at + i];
            let b = lanes[numbers.lanes_at + i + half_lanes];
            lanes[numbers.lanes_at + i] = vec4<u32>(min(a.x, b.x), max(a.y, b.y), a.z | b.z, 0u);
        }
        workgroupBarrier();
    }
    let keys = lanes[numbers.lanes_at];
    workgroupBarrier();
    return vec3<u32>(f32_from_order(keys.x), f32_from_order(keys.y), keys.z);
}

// The weighted squared error of a group.
fn error_of(numbers: Numbers, lane: u32, group: Group) -> u32 {
    let scale = times_power(group.scale, -numbers.exponent);
    for (var l = lane; l < LANES; l += GROUP_X) {
        var sum = 0u;
        for (var turn = 0u; turn < numbers.turns; turn += 1u) {
            let i = turn * LANES + l;
            if (i < numbers.count) {
                let x = f32_finite(input[numbers.at + i]);
                let integer = weight_integer(x, group.scale, group.shift);
                var real = 0u;
                if (SHIFT == SHIFT_INTEGER) {
                    real = f32_multiply(f32_from_i32(integer - bitcast<i32>(group.shift)), scale);
                } else if (SHIFT == SHIFT_REAL) {
                    real = f32_multiply(f32_add(f32_from_i32(integer), negative(group.shift)), scale);
                } else {
                    real = f32_multiply(f32_from_i32(integer), scale);
                    if (SHIFT == SHIFT_OFFSET) {
                        real = f32_add(real, times_power(group.shift, -numbers.exponent));
                    }
                }
                let difference = f32_add(times_power(x, -numbers.exponent), negative(real));
                sum = f32_add(sum, weighted(numbers.column + i, f32_multiply(difference, difference)));
            }
        }
        lanes[numbers.lanes_at + l] = vec4<u32>(sum, 0u, 0u, 0u);
    }
    return total(numbers, lane).x;
}

// Sums of weight · (q x, q q, q, x) and of weights, for least squares.
fn moments(numbers: Numbers, lane: u32, group: Group) -> array<vec4<u32>, 2> {
    for (var l = lane; l < LANES; l += GROUP_X) {
        var sums = vec4<u32>(0u);
        for (var turn = 0u; turn < numbers.turns; turn += 1u) {
            let i = turn * LANES + l;
            if (i < numbers.count) {
                let word = f32_finite(input[numbers.at + i]);
                let integer = f32_from_i32(weight_integer(word, group.scale, group.shift));
                let weighted_code = weighted(numbers.column + i, integer);
                let x = times_power(word, -numbers.exponent);
                sums.x = f32_add(sums.x, f32_multiply(weighted_code, x));
                sums.y = f32_add(sums.y, f32_multiply(weighted_code, integer));
                if (SHIFT != SHIFT_NONE) {
                    sums.z = f32_add(sums.z, weighted_code);
                    sums.w = f32_add(sums.w, weighted(numbers.column + i, x));
                }
            }
        }
        lanes[numbers.lanes_at + l] = sums;
    }
    let first = total(numbers, lane);
    if (SHIFT == SHIFT_NONE) {
        return array<vec4<u32>, 2>(first, vec4<u32>(0u));
    }
    for (var l = lane; l < LANES; l += GROUP_X) {
        var sum = 0u;
        for (var turn = 0u; turn < numbers.turns; turn += 1u) {
            let i = turn * LANES + l;
            if (i < numbers.count) {
                sum = f32_add(sum, weighted(numbers.column + i, ONE));
            }
        }
        lanes[numbers.lanes_at + l] = vec4<u32>(sum, 0u, 0u, 0u);
    }
    return array<vec4<u32>, 2>(first, total(numbers, lane));
}

// a · b - c · d
fn cross(a: u32, b: u32, c: u32, d: u32) -> u32 {
    return f32_add(f32_multiply(a, b), negative(f32_multiply(c, d)));
}

// a / b, or infinity if b is 0.
fn quotient(a: u32, b: u32) -> u32 {
    if (is_zero(b)) {
        return F32_INFINITY;
    }
    return f32_divide(a, b);
}

fn is_finite(word: u32) -> bool {
    return (word & ~F32_SIGN) < F32_INFINITY;
}

// The scale and shift with the least error for the given codes, then 1 if they exist.
fn refitted(sums: array<vec4<u32>, 2>, exponent: i32) -> array<u32, 3> {
    let first = sums[0];
    if (SHIFT == SHIFT_NONE) {
        let scale = quotient(first.x, first.y);
        return array<u32, 3>(stored_scale(times_power(scale, exponent)), 0u, select(0u, 1u, is_finite(scale)));
    }
    let w = sums[1].x;
    let determinant = cross(w, first.y, first.z, first.z);
    let scale = quotient(cross(w, first.x, first.w, first.z), determinant);
    let offset = quotient(cross(first.y, first.w, first.z, first.x), determinant);
    if (!is_finite(scale) || !is_finite(offset)) {
        return array<u32, 3>(0u, 0u, 0u);
    }
    if (SHIFT == SHIFT_REAL) {
        let zero = quotient(offset, scale);
        return array<u32, 3>(
            stored_scale(times_power(scale, exponent)), plus_zero(negative(zero)), select(0u, 1u, is_finite(zero)),
        );
    }
    return array<u32, 3>(
        stored_scale(f32_finite(times_power(scale, exponent))), stored_offset(f32_finite(times_power(offset, exponent))), 1u,
    );
}

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let index = linear_group(group, groups) * GROUP_Y + local.y;
    let known = index < params.total;
    let row = index / params.groups;
    let column = (index % params.groups) * params.group;
    let count = select(0u, min(params.group, params.k - column), known);
    var numbers = Numbers(row * params.k + column, column, count, local.y * LANES, params.turns + opaque_zero(groups), 0);
    let ends = range(numbers, local.x);
    var best = of_range(ends.x, ends.y);
    let held = ends.z == 0u && holds(ends.x, ends.y, best);
    var least = 0u;
    if (SEARCH) {
        let largest = f32_max(ends.x & ~F32_SIGN, ends.y & ~F32_SIGN);
        numbers.exponent = f32_magnitude(largest).exponent;
        let worth = known && largest != 0u;
        least = error_of(numbers, local.x, best);
        if (known && params.first > 0u) {
            let before = found[index];
            best = Group(before.x, before.y);
            least = before.z;
        }
        for (var f = 0u; f < params.factors + opaque_zero(groups); f += 1u) {
            let factor = f32_add(params.least, f32_multiply(params.step, f32_from_i32(i32(params.first + f))));
            var start = f32_finite(f32_multiply(ends.x, factor));
            var end = f32_finite(f32_multiply(ends.y, factor));
            if (TIGHT) {
                let span = f32_finite(f32_add(ends.y, negative(ends.x)));
                let cut = f32_multiply(span, f32_multiply(f32_add(ONE, negative(factor)), HALF));
                start = f32_finite(f32_add(ends.x, cut));
                end = f32_finite(f32_add(ends.y, negative(cut)));
            }
            var candidate = of_range(start, end);
            var legal = worth;
            if (REFIT) {
                let fit = refitted(moments(numbers, local.x, candidate), numbers.exponent);
                legal = worth && fit[2] == 1u;
                candidate = Group(fit[0], fit[1]);
            }
            let error = error_of(numbers, local.x, candidate);
            if (legal && f32_less(error, least) && stays_finite(ends.x, ends.y, candidate)) {
                best = candidate;
                least = error;
            }
        }
    }
    if (!held) {
        best = Group(F32_INFINITY, 0u);
    }
    if (known && local.x == 0u) {
        found[index] = vec4<u32>(best.scale, best.shift, least, 0u);
    }
}
