// output[r] = the least i such that input[r, i] is the greatest of its row
//
// LANES invocations share a row. Each takes every LANES-th element and keeps the first of its greatest elements. A tree in
// workgroup memory reduces these. Elements are compared by integer keys with the order of the elements.
//
// Meaning: reference/arg_max.rs. Candidates: kernels/elementwise/arg_max.rs.
//# import elementwise/order_key
//# import elementwise/ranked_pair
//# import math/linear_index
//# import convert/load_element
//# constants LANES, ROWS

struct Params {
    rows: u32,
    n: u32,                   // elements of a row
    input_words: u32,         // words of a row
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

// The key of the greatest element, then its index.
var<workgroup> best: array<vec2<u32>, LANES * ROWS>;

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = linear_group(group, groups) * ROWS + local.y;
    // Lanes beyond the last row read nothing.
    let end = select(0u, params.n, row < params.rows);
    var mine = NOTHING;
    for (var i = local.x; i < end; i += LANES) {
        let candidate = vec2<u32>(order_key(load_element(row, i)), i);
        mine = select(mine, candidate, is_better(candidate, mine));
    }
    let at = local.y * LANES + local.x;
    best[at] = mine;
    for (var half = LANES / 2u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (local.x < half) {
            let other = best[at + half];
            best[at] = select(best[at], other, is_better(other, best[at]));
        }
    }
    if (local.x == 0u && row < params.rows) {
        output[row] = best[at].y;
    }
}
