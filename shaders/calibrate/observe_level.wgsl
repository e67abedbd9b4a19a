// header[segment] = its state extended by the partial results of its chunks, and the level for that range; counts[segment] = 0
// second step of an observed histogram
//
// The level is the least one that has a bin for the least and for the greatest number so far. A level that rises by `rise` merges
// 2^rise bins into one. A workgroup owns one segment.
//
// Meaning: reference/observe.rs. Candidates: kernels/calibrate/observe.rs. First step: calibrate/observe_range.wgsl. Next step:
// calibrate/observe_count.wgsl.
//# import calibrate/batch
//# import calibrate/bins
//# import math/linear_index
//# constants GROUP_X

struct Params {
    chunks: u32,          // partial results of a segment
    segments: u32,
    width: u32,           // of a bin at level 0, f32 bits
    least_level: i32,
    words: u32,           // words of a state
    bins: u32,
    start: i32,           // exponent of the largest number minus the first level to try, at which its quotient is surely too large
    unused_0: u32,
}

const HEADER: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> header: array<u32>;
@group(0) @binding(7) var<storage, read_write> counts: array<u32>;

fn least_level(low: u32, high: u32) -> i32 {
    let largest = f32_magnitude(max(low & ~F32_SIGN, high & ~F32_SIGN));
    var level = params.least_level;
    if (largest.bits != 0u) {
        level = max(level, largest.exponent - params.start);
    }
    let half = i32(params.bins / 2u);
    for (var i = 0; i < 8; i += 1) {
        if (bin_place(low, level) >= -half && bin_place(high, level) < half) {
            break;
        }
        level += 1;
    }
    return level;
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
    for (var bin = thread; bin < params.bins; bin += GROUP_X) {
        counts[segment * params.bins + bin] = 0u;
    }
    let batch = batch_extremes(segment, thread);
    if (thread == 0u) {
        let old = segment * params.words;
        let at = segment * HEADER;
        var keys = vec2<u32>(batch.x, batch.y);
        if (has_begun(old)) {
            // Sorted, because a state may hold any words.
            let a = f32_order(f32_finite(state[old]));
            let b = f32_order(f32_finite(state[old + 1u]));
            keys = vec2<u32>(min(keys.x, min(a, b)), max(keys.y, max(a, b)));
        }
        let counts = total_counts(old, batch);
        let any = (counts.x | counts.y) != 0u;
        let low = select(0u, f32_from_order(keys.x), any);
        let high = select(0u, f32_from_order(keys.y), any);
        header[at] = low;
        header[at + 1u] = high;
        header[at + 2u] = counts.x;
        header[at + 3u] = counts.y;
        header[at + 4u] = counts.z;
        header[at + 5u] = counts.w;
        header[at + 6u] = select(0u, bitcast<u32>(least_level(low, high)), any);
        header[at + 7u] = 0u;
    }
}
