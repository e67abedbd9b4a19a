// The best pairs of two neighbouring sorted runs of a row, best first
//
//     a: a_0 a_1 a_2 …      the pairs before rank r are i of a and r − i of b, where i is the least number with
//     b: b_0 b_1 b_2 …      b_(r−1−i) better than a_i. A bisection finds it
//
// One invocation owns one word of the result. The last run of a row may have no neighbour.
//
// Meaning: reference/top_k.rs. Candidates: kernels/elementwise/top_k.rs.
//# import elementwise/ranked_pair
//# import elementwise/top_k_params
//# import math/linear_index
//# needs store: elementwise/top_k_keep, elementwise/top_k_store
//# constants GROUP_X

@group(0) @binding(2) var<storage, read> sorted: array<vec2<u32>>;

// The pair of this rank in the merged run.
fn ranked(unit: u32, rank: u32) -> vec2<u32> {
    let run = 2u * (unit % params.parts);
    let a = ((unit / params.parts) * params.runs + run) * params.length;
    let b = a + params.length;
    let b_length = select(0u, params.length, run + 1u < params.runs);
    var low = rank - min(rank, b_length);
    var high = min(rank, params.length);
    while (low < high) {
        let middle = (low + high) / 2u;
        if (is_better(sorted[a + middle], sorted[b + rank - 1u - middle])) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    var best = NOTHING;
    if (rank - low < b_length) {
        best = sorted[b + rank - low];
    }
    if (low < params.length) {
        let other = sorted[a + low];
        best = select(best, other, is_better(other, best));
    }
    return best;
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index < params.units * params.words) {
        store(index / params.words, index % params.words);
    }
}
