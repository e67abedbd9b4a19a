// powers[t, h, j] = e^(scores[t, h, j] − most)     the second of three passes, in place
//
// An invocation owns a query and head. The greatest score and the sum of the powers are stored before them. If caches hold codes
// (SCALED), scores are sums of a key's codes so far, and powers are stored times the scales of their values.
//
// Meaning: reference/attention.rs. Candidates: kernels/attention/attention.rs.
//# import attention/params
//# import attention/capped
//# import math/linear_index
//# needs key_scale, value_scale: attention/scales, attention/scales_none
//# constants GROUP_X, SCALED

@group(0) @binding(3) var<storage, read> position: array<i32>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

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
    let seen = visible(i32(place / params.heads), bounded_position(position[0]));
    let row = place * (u32(params.capacity) + 2u);
    let cache_head = place % params.heads / params.group;
    var most = LEAST_SCORE;
    for (var at = seen.x; at < seen.y; at += 1) {
        var score = output[row + 2u + u32(at)];
        if (SCALED) {
            score = capped(score * key_scale(u32(at) * params.cache_heads + cache_head));
            output[row + 2u + u32(at)] = score;
        }
        most = max(most, score);
    }
    var total = 0.0;
    for (var at = seen.x; at < seen.y; at += 1) {
        let power = exp(output[row + 2u + u32(at)] - most);
        output[row + 2u + u32(at)] = power * value_scale(u32(at) * params.cache_heads + cache_head);
        total += power;
    }
    output[row] = most;
    output[row + 1u] = total;
}
