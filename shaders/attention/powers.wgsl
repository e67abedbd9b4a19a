// powers[t, h, j] = e^(scores[t, h, j] − most)     the second of three passes, in place
//
// An invocation owns a query and head. The factor of the sums of values is stored before the powers. If caches hold codes (SCALED),
// scores are sums of groups of a key's codes so far. Powers are stored times the scales of their values, or the last pass multiplies
// with these.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import attention/pass_rows
//# import attention/capped
//# import math/linear_index
//# needs key_scale: attention/key_scales, attention/key_scales_none
//# needs masked: attention/mask, attention/mask_none
//# needs share_factor: attention/sinks, attention/sinks_none
//# needs value_scale: attention/value_scales, attention/value_scales_none
//# constants GROUP_X, KEY_GROUPS, SCALED

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = linear_group(group, groups) * GROUP_X + thread;
    if (place >= u32(params.tokens) * params.heads) {
        return;
    }
    let row = pass_row(place);
    let begin = output[row];
    let end = output[row + 1u];
    let first = row + PASS_HEADER;
    let cache_head = place % params.heads / params.group;
    var most = LEAST_SCORE;
    for (var at = begin; at < end; at += 1u) {
        var score = 0.0;
        for (var i = 0u; i < KEY_GROUPS; i += 1u) {
            score += bitcast<f32>(output[first + at * KEY_GROUPS + i])
                * key_scale((at * params.cache_heads + cache_head) * KEY_GROUPS + i);
        }
        if (SCALED) {
            score = capped(score);
        }
        score = masked(score, place, at);
        output[first + at] = bitcast<u32>(score);
        most = max(most, score);
    }
    var total = 0.0;
    for (var at = begin; at < end; at += 1u) {
        let score = bitcast<f32>(output[first + at]);
        let power = select(exp(score - most), 0.0, score == NO_SCORE);
        output[first + at] = bitcast<u32>(power * value_scale(at * params.cache_heads + cache_head));
        total += power;
    }
    output[row + 2u] = bitcast<u32>(share_factor(most, total, place % params.heads));
}
