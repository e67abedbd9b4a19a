// The least and greatest of ordered keys and two counts, over a workgroup of GROUP_X (a power of two) invocations. A state holds
// the bits of the least and of the greatest number, the count of numbers and the count of numbers left out (two words each). A
// state may hold any words: an infinite bound counts as the nearest finite number, a NaN bound as 0. The bounds of an empty state
// count as 0.
//# import math/float_bits
//# import math/add_wide
//# constants GROUP_X

// (least key, greatest key, numbers, numbers left out) of no numbers
const NOTHING = vec4<u32>(0xffffffffu, 0u, 0u, 0u);

var<workgroup> extreme_keys: array<vec4<u32>, GROUP_X>;

fn both_extremes(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(min(a.x, b.x), max(a.y, b.y), a.z + b.z, a.w + b.w);
}

fn reduce_extremes(mine: vec4<u32>, thread: u32) -> vec4<u32> {
    extreme_keys[thread] = mine;
    for (var half = GROUP_X / 2u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (thread < half) {
            extreme_keys[thread] = both_extremes(extreme_keys[thread], extreme_keys[thread + half]);
        }
    }
    workgroupBarrier();
    return extreme_keys[0];
}
