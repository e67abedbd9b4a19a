// next[segment] = state[segment] extended by the partial results of its chunks     second half of an observed range
//
// MOVING: a bound b becomes b + constant · (bound of the batch − b), each step one f32 operation on bits. Otherwise the bounds are
// the extremes of state and batch. A workgroup owns one segment.
//
// Meaning: reference/observe.rs. Candidates: kernels/calibrate/observe.rs. First half: calibrate/observe_range.wgsl.
//# import calibrate/batch
//# import math/linear_index
//# constants GROUP_X, MOVING

struct Params {
    chunks: u32,          // partial results of a segment
    segments: u32,
    constant: u32,        // f32 bits
    unused_0: u32,
}

const WORDS: u32 = 6u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> next: array<u32>;

fn moving_average(bound: u32, batch: u32) -> u32 {
    let difference = f32_add(batch, bound ^ F32_SIGN);
    let magnitude = min(difference & ~F32_SIGN, F32_GREATEST);
    return f32_add(bound, f32_multiply(params.constant, magnitude | (difference & F32_SIGN)));
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let segment = linear_group(group, groups);
    if (segment >= params.segments) {
        return;
    }
    let batch = batch_extremes(segment, thread);
    if (thread == 0u) {
        let at = segment * WORDS;
        let begun = has_begun(at);
        var low = select(0u, f32_finite(state[at]), begun);
        var high = select(0u, f32_finite(state[at + 1u]), begun);
        if (batch.z > 0u) {
            let batch_low = f32_from_order(batch.x);
            let batch_high = f32_from_order(batch.y);
            if (!begun) {
                low = batch_low;
                high = batch_high;
            } else if (MOVING) {
                low = moving_average(low, batch_low);
                high = moving_average(high, batch_high);
            } else {
                low = f32_from_order(min(f32_order(low), batch.x));
                high = f32_from_order(max(f32_order(high), batch.y));
            }
        }
        let counts = total_counts(at, batch);
        next[at] = low;
        next[at + 1u] = high;
        next[at + 2u] = counts.x;
        next[at + 3u] = counts.y;
        next[at + 4u] = counts.z;
        next[at + 5u] = counts.w;
    }
}
