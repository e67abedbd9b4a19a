// scores[t, h, j] = cap(scale Σ_i query[t, h, i] keys[j, g, i])     the first of three passes, without workgroup memory: for CPUs
//
// An invocation owns ROWS rows (queries and heads that read head g of the cache) and POSITIONS positions. Loops over both are
// unrolled: their arrays are registers. The result has capacity + 2 numbers for each query and head. If keys are codes, it is
// without their scales and without the cap, which attention/powers.wgsl adds.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import attention/capped
//# import math/linear_index
//# needs load_key: attention/keys_*
//# constants GROUP_X, POSITIONS, QUADS, ROWS

@group(0) @binding(1) var<storage, read> query: array<f32>;
@group(0) @binding(3) var<storage, read> position: array<i32>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    let blocks = (u32(params.capacity) + POSITIONS - 1u) / POSITIONS;
    let block = index / blocks;
    let cache_head = block / params.row_blocks;
    let first_row = block % params.row_blocks * ROWS;
    let rows = u32(params.tokens) * params.group;
    let last_row = min(first_row + ROWS, rows) - 1u;
    let first = bounded_position(position[0]);
    let at = i32(index % blocks * POSITIONS);
    // A later query sees later positions.
    let begin = visible(i32(first_row / params.group), first).x;
    let end = visible(i32(last_row / params.group), first).y;
    if (cache_head >= params.cache_heads || at + i32(POSITIONS) <= begin || at >= end) {
        return;
    }
    var score: array<f32, ROWS * POSITIONS>;
    for (var quad = 0u; quad < QUADS + opaque_zero(groups); quad += 1u) {
        var key: array<vec4<f32>, POSITIONS>;
        for (var j = 0u; j < POSITIONS; j += 1u) {
            // Positions beyond the last read it again.
            key[j] = load_key(u32(min(at + i32(j), end - 1)) * params.cache_heads + cache_head, quad);
        }
        // Columns beyond the query meet keys of zero.
        let columns = min(vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.d - 1u));
        for (var r = 0u; r < ROWS; r += 1u) {
            let words = vec4<u32>(row_place(min(first_row + r, rows - 1u), cache_head) * params.d) + columns;
            let mine = vec4<f32>(query[words.x], query[words.y], query[words.z], query[words.w]);
            for (var j = 0u; j < POSITIONS; j += 1u) {
                score[r * POSITIONS + j] += dot(mine, key[j]);
            }
        }
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        let place = row_place(min(first_row + r, rows - 1u), cache_head);
        for (var j = 0u; j < POSITIONS; j += 1u) {
            if (first_row + r < rows && at + i32(j) < end) {
                let scaled = score[r * POSITIONS + j] * bitcast<f32>(params.scale);
                output[place * (u32(params.capacity) + 2u) + 2u + u32(at) + j] = capped(scaled);
            }
        }
    }
}
