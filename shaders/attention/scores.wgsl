// scores[t, h, j] = cap(scale Σ_i query[t, h, i] keys[j, g, i])     the first of three passes, without workgroup memory: for CPUs
//
// An invocation owns ROWS rows (queries and heads that read head g of the cache) and POSITIONS positions. Loops over both are
// unrolled: their arrays are registers. If keys are codes, the result is a sum for each group that shares a scale, without that scale
// and without the cap, which attention/powers.wgsl adds. The invocations of the first positions also store what each query sees.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import attention/pass_rows
//# import attention/capped
//# import math/linear_index
//# needs load_key: attention/keys_*
//# constants GROUP_X, KEY_GROUPS, KEY_GROUP_QUADS, POSITIONS, QUADS, ROWS

@group(0) @binding(1) var<storage, read> query: array<f32>;
@group(0) @binding(3) var<storage, read> position: array<i32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    let blocks = max((u32(params.capacity) + POSITIONS - 1u) / POSITIONS, 1u);
    let block = index / blocks;
    let cache_head = block / params.row_blocks;
    let first_row = block % params.row_blocks * ROWS;
    let rows = u32(params.tokens) * params.group;
    if (cache_head >= params.cache_heads) {
        return;
    }
    let last_row = min(first_row + ROWS, rows) - 1u;
    let first = bounded_position(position[0]);
    let at = i32(index % blocks * POSITIONS);
    if (at == 0) {
        for (var row = first_row; row <= last_row; row += 1u) {
            let seen = visible(i32(row / params.group), first);
            let start = pass_row(row_place(row, cache_head));
            output[start] = u32(seen.x);
            output[start + 1u] = u32(seen.y);
        }
    }
    // A later query sees later positions.
    let begin = visible(i32(first_row / params.group), first).x;
    let end = visible(i32(last_row / params.group), first).y;
    if (at + i32(POSITIONS) <= begin || at >= end) {
        return;
    }
    let zero = opaque_zero(groups);
    for (var i = 0u; i < KEY_GROUPS; i += 1u) {
        var score: array<f32, ROWS * POSITIONS>;
        let last = min((i + 1u) * KEY_GROUP_QUADS, QUADS) + zero;
        for (var quad = i * KEY_GROUP_QUADS; quad < last; quad += 1u) {
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
            let start = pass_row(row_place(min(first_row + r, rows - 1u), cache_head)) + PASS_HEADER;
            for (var j = 0u; j < POSITIONS; j += 1u) {
                if (first_row + r < rows && at + i32(j) < end) {
                    let scaled = score[r * POSITIONS + j] * bitcast<f32>(params.scale);
                    output[start + (u32(at) + j) * KEY_GROUPS + i] = bitcast<u32>(capped(scaled));
                }
            }
        }
    }
}
