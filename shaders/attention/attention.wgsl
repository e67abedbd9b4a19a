// out[t, h, :] = Σ_j share_j values[j, g, :],   share_j = e^(score_j) / Σ_j e^(score_j),   score_j = scale Σ_i query[t, h, i] keys[j, g, i]
//
// A workgroup owns ROWS rows (queries and heads that read head g of the cache) and each `slices`-th block of LANES positions. For
// each block
//
//     1. each lane computes the scores of its position          keys are read once for all rows
//     2. a row's greatest score so far: all sums are relative to it
//     3. each lane computes the powers of its position, times the scale of its value if there is one
//     4. each lane adds products of values: VALUE_QUADS lanes own a quad of columns each, SUBSETS such sets take positions in turn
//
// Loops over rows hold no loops of unknown length, so that drivers unroll them and keep the arrays of rows in registers.
//
// With several slices (SPLIT) the results are sums, which attention/join.wgsl adds.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import attention/capped
//# import math/linear_index
//# needs finish_partial, finish_quad, finish_row: attention/finish_*
//# needs load_key: attention/keys_*
//# needs load_value: attention/values_*
//# needs key_scale: attention/key_scales, attention/key_scales_none
//# needs masked: attention/mask, attention/mask_none
//# needs share_factor: attention/sinks, attention/sinks_none
//# needs value_scale: attention/value_scales, attention/value_scales_none
//# constants KEY_GROUPS, KEY_GROUP_QUADS, LANES, LANE_QUADS, QUADS, ROWS, SPLIT, SUBSETS, VALUE_GROUPS, VALUE_GROUP_QUADS, VALUE_QUADS

@group(0) @binding(1) var<storage, read> query: array<f32>;
@group(0) @binding(3) var<storage, read> position: array<i32>;

// Lanes that share a row in the search for its greatest score.
const ROW_LANES: u32 = max(LANES / ROWS, 1u);

var<workgroup> first_position: i32;
var<workgroup> queries: array<vec4<f32>, ROWS * QUADS>;
var<workgroup> scores: array<f32, ROWS * LANES>;
var<workgroup> powers: array<f32, ROWS * LANES>;
var<workgroup> greatest: array<f32, ROWS * ROW_LANES>;
var<workgroup> sums: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = linear_group(group, groups);
    let slice = index % params.slices;
    let cache_head = index / params.slices % params.cache_heads;
    let first_row = index / params.slices / params.cache_heads * ROWS;
    let rows = u32(params.tokens) * params.group;
    if (lane == 0u) {
        first_position = bounded_position(position[0]);
    }
    let first = workgroupUniformLoad(&first_position);

    // Row r of this head of the cache is query r / group, head r % group. Rows beyond the last count as the last.
    for (var i = lane; i < ROWS * QUADS; i += LANES) {
        let row = min(first_row + i / QUADS, rows - 1u);
        let start = row_place(row, cache_head) * params.d;
        var quad = vec4<f32>();
        for (var j = 0u; j < 4u && i % QUADS * 4u + j < params.d; j += 1u) {
            quad[j] = query[start + i % QUADS * 4u + j];
        }
        queries[i] = quad;
    }

    // The positions that rows see are all in this range: a later query sees later ones.
    let last_row = min(first_row + ROWS, rows) - 1u;
    let begin = visible(i32(first_row / params.group), first).x;
    let end = visible(i32(last_row / params.group), first).y;
    let scale = bitcast<f32>(params.scale);
    // Loops that aren't to be unrolled.
    let zero = opaque_zero(groups);
    let subset = lane / min(VALUE_QUADS, LANES);
    let first_quad = lane % min(VALUE_QUADS, LANES);

    var seen: array<vec2<i32>, ROWS>;
    var most: array<f32, ROWS>;
    var totals: array<f32, ROWS>;
    var products: array<vec4<f32>, ROWS * LANE_QUADS>;
    for (var r = 0u; r < ROWS; r += 1u) {
        seen[r] = visible(i32(min(first_row + r, rows - 1u) / params.group), first);
        most[r] = LEAST_SCORE;
    }
    workgroupBarrier();
    for (var block = begin + i32(slice * LANES); block < end; block += i32(params.slices * LANES)) {
        let mine = block + i32(lane);
        var score: array<f32, ROWS>;
        // Lanes beyond the last position compute it again.
        let cache_row = u32(min(mine, end - 1)) * params.cache_heads + cache_head;
        for (var i = 0u; i < KEY_GROUPS; i += 1u) {
            var sum: array<f32, ROWS>;
            let last = min((i + 1u) * KEY_GROUP_QUADS, QUADS) + zero;
            for (var quad = i * KEY_GROUP_QUADS; quad < last; quad += 1u) {
                let key = load_key(cache_row, quad);
                for (var r = 0u; r < ROWS; r += 1u) {
                    sum[r] += dot(queries[r * QUADS + quad], key);
                }
            }
            let own_key_scale = key_scale(cache_row * KEY_GROUPS + i);
            for (var r = 0u; r < ROWS; r += 1u) {
                score[r] += sum[r] * own_key_scale;
            }
        }
        var own_value_scale = 1.0;
        if (VALUE_GROUPS == 1u) {
            own_value_scale = value_scale(cache_row);
        }
        for (var r = 0u; r < ROWS; r += 1u) {
            let is_seen = mine < end && seen[r].x <= mine && mine < seen[r].y;
            let place = row_place(min(first_row + r, rows - 1u), cache_head);
            score[r] = select(NO_SCORE, masked(capped(score[r] * scale), place, u32(min(mine, end - 1))), is_seen);
            scores[r * LANES + lane] = score[r];
        }
        workgroupBarrier();
        for (var i = lane; i < ROWS * ROW_LANES; i += LANES) {
            var row_most = NO_SCORE;
            for (var j = i % ROW_LANES; j < LANES; j += ROW_LANES) {
                row_most = max(row_most, scores[i / ROW_LANES * LANES + j]);
            }
            greatest[i] = row_most;
        }
        workgroupBarrier();
        var now = most;
        for (var j = 0u; j < ROW_LANES + zero; j += 1u) {
            for (var r = 0u; r < ROWS; r += 1u) {
                now[r] = max(now[r], greatest[r * ROW_LANES + j]);
            }
        }
        for (var r = 0u; r < ROWS; r += 1u) {
            let shrink = exp(most[r] - now[r]);
            most[r] = now[r];
            let power = select(exp(score[r] - now[r]), 0.0, score[r] == NO_SCORE);
            totals[r] = totals[r] * shrink + power;
            powers[r * LANES + lane] = power * own_value_scale;
            for (var i = 0u; i < LANE_QUADS; i += 1u) {
                products[r * LANE_QUADS + i] *= shrink;
            }
        }
        workgroupBarrier();
        if (subset < SUBSETS) {
            let count = u32(min(end - block, i32(LANES)));
            for (var j = subset; j < count; j += SUBSETS) {
                let value_row = (u32(block) + j) * params.cache_heads + cache_head;
                for (var i = 0u; i < LANE_QUADS; i += 1u) {
                    let quad = first_quad + i * LANES;
                    if (quad < VALUE_QUADS) {
                        var value = load_value(value_row, quad);
                        if (VALUE_GROUPS > 1u) {
                            value *= value_scale(value_row * VALUE_GROUPS + quad / VALUE_GROUP_QUADS);
                        }
                        for (var r = 0u; r < ROWS; r += 1u) {
                            products[r * LANE_QUADS + i] += powers[r * LANES + j] * value;
                        }
                    }
                }
            }
        }
    }

    // Sums over lanes and subsets.
    for (var r = 0u; r < ROWS; r += 1u) {
        scores[r * LANES + lane] = totals[r];
        totals[r] = 0.0;
    }
    workgroupBarrier();
    for (var j = 0u; j < LANES + zero; j += 1u) {
        for (var r = 0u; r < ROWS; r += 1u) {
            totals[r] += scores[r * LANES + j];
        }
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        let row = first_row + r;
        let place = row_place(row, cache_head);
        for (var i = 0u; i < LANE_QUADS; i += 1u) {
            workgroupBarrier();
            sums[lane] = products[r * LANE_QUADS + i];
            workgroupBarrier();
            let quad = first_quad + i * LANES;
            if (subset == 0u && quad < VALUE_QUADS && row < rows) {
                var sum = sums[lane];
                for (var j = 1u; j < SUBSETS; j += 1u) {
                    sum += sums[j * min(VALUE_QUADS, LANES) + lane];
                }
                if (SPLIT) {
                    let partial = (slice * u32(params.tokens) * params.heads + place) * (4u * VALUE_QUADS + 2u);
                    finish_partial(partial, quad, most[r], totals[r], sum);
                } else {
                    let factor = share_factor(most[r], totals[r], place % params.heads);
                    finish_quad(place, quad, lane, sum * factor);
                }
            }
        }
        finish_row(place, lane, row < rows);
    }
}
