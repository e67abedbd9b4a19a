// next[segment] = header[segment], then for each bin the sum of the old state's bins that it covers and counts[segment, bin]
// last step of an observed histogram
//
// Bin j at the new level covers the old bins j · 2^rise … (j + 1) · 2^rise − 1. One invocation owns one pair of words of the next
// state: two words of the header, or the two words of a bin's count.
//
// Meaning: reference/observe.rs. Candidates: kernels/calibrate/observe.rs.
//# import math/add_wide
//# import math/linear_index
//# constants GROUP_X

struct Params {
    bins: u32,
    pairs: u32,           // pairs of words of a state
    count: u32,           // pairs in all
    unused_0: u32,
}

const HEADER: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> header: array<u32>;
@group(0) @binding(3) var<storage, read> counts: array<u32>;
@group(0) @binding(6) var<storage, read_write> next: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.count) {
        return;
    }
    let segment = index / params.pairs;
    let pair = index % params.pairs;
    let old = segment * params.pairs * 2u;
    if (pair * 2u < HEADER) {
        next[index * 2u] = header[segment * HEADER + pair * 2u];
        next[index * 2u + 1u] = header[segment * HEADER + pair * 2u + 1u];
        return;
    }
    let bin = pair - HEADER / 2u;
    var total = vec2<u32>(counts[segment * params.bins + bin], 0u);
    if ((state[old + 2u] | state[old + 3u]) != 0u) {
        let half = i32(params.bins / 2u);
        let level = bitcast<i32>(header[segment * HEADER + 6u]);
        let before = bitcast<i32>(state[old + 6u]);
        // There are at most 2^14 bins on either side of zero: a rise by 16 leaves one on each. Any difference of two i32 is a u32.
        let rise = select(0u, min(bitcast<u32>(level) - bitcast<u32>(before), 16u), level > before);
        let place = i32(bin) - half;
        let first = clamp(place << rise, -half, half);
        let end = clamp((place + 1) << rise, -half, half);
        for (var i = first; i < end; i += 1) {
            let at = old + HEADER + u32(i + half) * 2u;
            total = add_wide(total, vec2<u32>(state[at], state[at + 1u]));
        }
    }
    next[index * 2u] = total.x;
    next[index * 2u + 1u] = total.y;
}
