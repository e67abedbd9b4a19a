// The best elements of units, best first: the greatest of their keys, and the first of equal ones
//
// A workgroup sorts BLOCK pairs of a key and an index in its memory: `size` of each of its units.
//
//     sorted | k best | rest |       of a unit with more than `size` elements the best k stay. Elements that are better than the
//            | k best | new ... |    k-th join them: each invocation looks for its share of the room. Then these are sorted, and
//                     ^ filled       again the best k stay, until no element is left
//
// New pairs have no fixed order, but no two are equally good: the sorted order is always the same.
//
// Meaning: reference/top_k.rs. Candidates: kernels/elementwise/top_k.rs.
//# import elementwise/ranked_pair
//# import elementwise/top_k_params
//# import math/linear_index
//# needs source_pair: elementwise/top_k_elements, elementwise/top_k_pairs
//# needs store: elementwise/top_k_keep, elementwise/top_k_store
//# constants BLOCK, GROUP_X

// New pairs of an invocation at a time. With the best k, at most BLOCK / 2, those of a workgroup fit.
const SHARE: u32 = BLOCK / 2u / GROUP_X;

var<workgroup> ranks: array<vec2<u32>, BLOCK>;
var<workgroup> filled: atomic<u32>;
var<workgroup> unfinished: atomic<u32>;
// Both counters, for all invocations.
var<workgroup> progress: vec2<u32>;

// The better pair, then the other.
fn ordered(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
    return select(vec4<u32>(a, b), vec4<u32>(b, a), is_better(b, a));
}

// Sorts each `size` pairs of the first `used`, best first, by a bitonic network. The first step of a run compares each pair with
// its mirror image, the others compare those `gap` apart. An invocation does two steps of four pairs, without a barrier between:
//
//     a run of 8         0 with 7 and 2 with 5, then 0 with 2 and 5 with 7
//     8 of a longer run  0 with 4 and 2 with 6, then 0 with 2 and 4 with 6
fn sort(thread: u32, size: u32, used: u32) {
    for (var run = 2u; run <= size; run *= 2u) {
        for (var gap = run / 2u; gap > 0u; gap /= 4u) {
            workgroupBarrier();
            let mirror = gap == run / 2u;
            if (gap == 1u) {
                for (var step = thread; step < used / 2u; step += GROUP_X) {
                    let pair = ordered(ranks[2u * step], ranks[2u * step + 1u]);
                    ranks[2u * step] = pair.xy;
                    ranks[2u * step + 1u] = pair.zw;
                }
            } else {
                let half = gap / 2u;
                for (var step = thread; step < used / 4u; step += GROUP_X) {
                    let at_0 = 4u * step - 3u * (step & (half - 1u));
                    let at_1 = at_0 + half;
                    let at_2 = select(at_0 + gap, at_1 ^ (run - 1u), mirror);
                    let at_3 = select(at_1 + gap, at_0 ^ (run - 1u), mirror);
                    let low = vec4<u32>(ranks[at_0], ranks[at_1]);
                    let high = vec4<u32>(ranks[at_2], ranks[at_3]);
                    let first = ordered(low.xy, select(high.xy, high.zw, mirror));
                    let second = ordered(low.zw, select(high.zw, high.xy, mirror));
                    let lower = ordered(first.xy, second.xy);
                    let upper = ordered(first.zw, second.zw);
                    ranks[at_0] = lower.xy;
                    ranks[at_1] = lower.zw;
                    ranks[at_2] = upper.xy;
                    ranks[at_3] = upper.zw;
                }
            }
        }
    }
    workgroupBarrier();
}

// The pair of this rank in a unit of the workgroup.
fn ranked(unit: u32, rank: u32) -> vec2<u32> {
    return ranks[(unit % (BLOCK / params.size)) * params.size + rank];
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let size = params.size + opaque_zero(groups);
    let units = BLOCK / size;
    let first_unit = linear_group(group, groups) * units;
    for (var item = thread; item < BLOCK; item += GROUP_X) {
        let unit = first_unit + item / size;
        let i = (unit % params.parts) * params.part_length + item % size;
        var pair = NOTHING;
        if (unit < params.units && item % size < params.part_length && i < params.n) {
            pair = source_pair(unit / params.parts, i);
        }
        ranks[item] = pair;
    }
    sort(thread, size, BLOCK);

    // The rest of a unit that is alone in its workgroup.
    let row = first_unit / params.parts;
    let begin = (first_unit % params.parts) * params.part_length;
    let end = min(begin + params.part_length, params.n);
    var i = begin + size + thread;
    var more = begin + size < end;
    while (more) {
        let worst = ranks[params.k - 1u];
        if (thread == 0u) {
            atomicStore(&filled, params.k);
            atomicStore(&unfinished, 0u);
        }
        workgroupBarrier();
        for (var found = 0u; found < SHARE && i < end; i += GROUP_X) {
            let pair = source_pair(row, i);
            if (is_better(pair, worst)) {
                ranks[atomicAdd(&filled, 1u)] = pair;
                found += 1u;
            }
        }
        if (i < end) {
            atomicStore(&unfinished, 1u);
        }
        workgroupBarrier();
        if (thread == 0u) {
            progress = vec2<u32>(atomicLoad(&filled), atomicLoad(&unfinished));
        }
        let now = workgroupUniformLoad(&progress);
        if (now.x > params.k) {
            // A power of two that holds them.
            let used = min(2u << firstLeadingBit(now.x - 1u), BLOCK);
            for (var item = now.x + thread; item < used; item += GROUP_X) {
                ranks[item] = NOTHING;
            }
            sort(thread, used, used);
        }
        more = now.y != 0u;
    }
    let words = params.words + opaque_zero(groups);
    for (var item = thread; item < units * words; item += GROUP_X) {
        let unit = first_unit + item / words;
        if (unit < params.units) {
            store(unit, item % words);
        }
    }
}
