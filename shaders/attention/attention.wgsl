// out[t, h, :] = Σ_j share_j values[j, g, :],   share_j = e^(score_j) / Σ_j e^(score_j),   score_j = scale Σ_i query[t, h, i] keys[j, g, i]
//
// A workgroup owns ROWS rows (queries and heads that read head g of the cache) and a slice of positions. It walks through the slice in
// blocks of LANES positions:
//
//     1. each lane computes the scores of its position          keys are read once for all rows
//     2. a row's greatest score so far: all sums are relative to it
//     3. each lane computes the powers of its position
//     4. each lane adds products of values: VALUE_QUADS lanes own a quad of columns each, SUBSETS such sets take positions in turn
//
// With several slices (SPLIT) the results are sums, which attention/join.wgsl adds.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import math/linear_index
//# needs load_key, load_value: attention/cache_*
//# needs share_factor: attention/sinks, attention/sinks_none
//# constants LANES, LANE_QUADS, QUADS, ROWS, SPLIT, SUBSETS, VALUE_QUADS

@group(0) @binding(1) var<storage, read> query: array<f32>;
@group(0) @binding(3) var<storage, read> position: array<i32>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

// A score that is not there, and the greatest score before any.
const NO_SCORE: f32 = -3.4028234e38;
const LEAST_SCORE: f32 = -3.0e38;

// Lanes that share a row in the search for its greatest score.
const ROW_LANES: u32 = max(LANES / ROWS, 1u);

var<workgroup> first_position: i32;
var<workgroup> queries: array<vec4<f32>, ROWS * QUADS>;
var<workgroup> scores: array<f32, ROWS * LANES>;
var<workgroup> powers: array<f32, ROWS * LANES>;
var<workgroup> greatest: array<f32, ROWS * ROW_LANES>;
var<workgroup> sums: array<vec4<f32>, LANES>;

// c tanh(score / c) without large exponentials.
fn capped(score: f32) -> f32 {
    let cap = bitcast<f32>(params.soft_cap);
    if (params.soft_cap == 0u) {
        return score;
    }
    let power = exp(-2.0 * abs(score) / cap);
    return sign(score) * cap * (1.0 - power) / (1.0 + power);
}

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
        let head = cache_head * params.group + row % params.group;
        let start = (row / params.group * params.heads + head) * params.d;
        var quad = vec4<f32>();
        for (var j = 0u; j < 4u && i % QUADS * 4u + j < params.d; j += 1u) {
            quad[j] = query[start + i % QUADS * 4u + j];
        }
        queries[i] = quad;
    }

    // The positions that rows see are all in this range: a later query sees later ones.
    let last_row = min(first_row + ROWS, rows) - 1u;
    let begin = max(i32(slice) * params.slice, visible(i32(first_row / params.group), first).x);
    let end = min((i32(slice) + 1) * params.slice, visible(i32(last_row / params.group), first).y);
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
    for (var block = begin; block < end; block += i32(LANES)) {
        let mine = block + i32(lane);
        var score: array<f32, ROWS>;
        if (mine < end) {
            let key_row = u32(mine) * params.cache_heads + cache_head;
            for (var quad = 0u; quad < QUADS + zero; quad += 1u) {
                let key = load_key(key_row, quad);
                for (var r = 0u; r < ROWS; r += 1u) {
                    score[r] += dot(queries[r * QUADS + quad], key);
                }
            }
        }
        for (var r = 0u; r < ROWS; r += 1u) {
            let is_seen = mine < end && seen[r].x <= mine && mine < seen[r].y;
            score[r] = select(NO_SCORE, capped(score[r] * scale), is_seen);
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
        for (var r = 0u; r < ROWS; r += 1u) {
            var now = most[r];
            for (var j = 0u; j < ROW_LANES + zero; j += 1u) {
                now = max(now, greatest[r * ROW_LANES + j]);
            }
            let shrink = exp(most[r] - now);
            most[r] = now;
            let power = select(exp(score[r] - now), 0.0, score[r] == NO_SCORE);
            totals[r] = totals[r] * shrink + power;
            powers[r * LANES + lane] = power;
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
                        let value = load_value(value_row, quad);
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
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        let row = first_row + r;
        let head = cache_head * params.group + row % params.group;
        let place = row / params.group * params.heads + head;
        for (var i = 0u; i < LANE_QUADS; i += 1u) {
            workgroupBarrier();
            sums[lane] = products[r * LANE_QUADS + i];
            workgroupBarrier();
            let quad = first_quad + i * LANES;
            if (subset == 0u && quad < VALUE_QUADS && row < rows) {
                var total = 0.0;
                for (var j = 0u; j < LANES + zero; j += 1u) {
                    total += scores[r * LANES + j];
                }
                var sum = sums[lane];
                for (var j = 1u; j < SUBSETS + zero; j += 1u) {
                    sum += sums[j * min(VALUE_QUADS, LANES) + lane];
                }
                if (SPLIT) {
                    let partial = (slice * u32(params.tokens) * params.heads + place) * (4u * VALUE_QUADS + 2u);
                    output[partial] = most[r];
                    output[partial + 1u] = total;
                    for (var j = 0u; j < 4u; j += 1u) {
                        output[partial + 2u + 4u * quad + j] = sum[j];
                    }
                } else {
                    let factor = share_factor(most[r], total, head);
                    for (var j = 0u; j < 4u && 4u * quad + j < params.value_d; j += 1u) {
                        output[place * params.value_d + 4u * quad + j] = sum[j] * factor;
                    }
                }
            }
        }
    }
}
