// A segment's extremes and counts over the chunks of a batch, and its old state: the steps after calibrate/observe_range.wgsl.
//# import calibrate/extremes
//# import math/add_wide
//# params chunks
//# constants GROUP_X

@group(0) @binding(1) var<storage, read> partial: array<vec4<u32>>;          // written by calibrate/observe_range.wgsl
@group(0) @binding(2) var<storage, read> state: array<u32>;                  // see calibrate/extremes.wgsl

// The invocations of a workgroup share a segment.
fn batch_extremes(segment: u32, thread: u32) -> vec4<u32> {
    var mine = NOTHING;
    for (var i = thread; i < params.chunks; i += GROUP_X) {
        mine = both_extremes(mine, partial[segment * params.chunks + i]);
    }
    return reduce_extremes(mine, thread);
}

// True if a state has counted a number.
fn has_begun(at: u32) -> bool {
    return (state[at + 2u] | state[at + 3u]) != 0u;
}

// The counts of numbers and of numbers left out, two words each, of a state and a batch.
fn total_counts(at: u32, batch: vec4<u32>) -> vec4<u32> {
    let count = add_wide(vec2<u32>(state[at + 2u], state[at + 3u]), vec2<u32>(batch.z, 0u));
    let skipped = add_wide(vec2<u32>(state[at + 4u], state[at + 5u]), vec2<u32>(batch.w, 0u));
    return vec4<u32>(count, skipped);
}
