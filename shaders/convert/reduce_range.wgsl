// The least and greatest of f32 as ordered keys, zero included. NaN is left out; infinity counts as the largest finite number. Keys
// are integers: the result does not depend on the order of reduction.
//
// A workgroup holds ROWS ranges, each of LANES (a power of two) invocations. All of its invocations must call it.
//# import math/float_bits
//# constants LANES, ROWS

var<workgroup> range_keys: array<vec2<u32>, LANES * ROWS>;

fn range_of_none() -> vec2<u32> {
    return vec2<u32>(f32_order(0u));
}

fn range_with(keys: vec2<u32>, value: u32) -> vec2<u32> {
    let key = clamp(f32_order(value), f32_order(F32_LEAST), f32_order(F32_GREATEST));
    return select(vec2<u32>(min(keys.x, key), max(keys.y, key)), keys, f32_is_nan(value));
}

fn range_of_both(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(min(a.x, b.x), max(a.y, b.y));
}

fn reduce_range(keys: vec2<u32>, lane: u32, row: u32) -> vec2<u32> {
    if (LANES == 1u) {
        return keys;
    }
    let at = row * LANES + lane;
    range_keys[at] = keys;
    for (var half = LANES / 2u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (lane < half) {
            range_keys[at] = range_of_both(range_keys[at], range_keys[at + half]);
        }
    }
    workgroupBarrier();
    return range_keys[row * LANES];
}
