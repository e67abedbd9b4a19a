// The least and greatest of ordered keys over a workgroup of GROUP_X (a power of two) invocations.

var<workgroup> range_keys: array<vec2<u32>, GROUP_X>;

fn reduce_range(keys: vec2<u32>, thread: u32) -> vec2<u32> {
    range_keys[thread] = keys;
    for (var half = GROUP_X / 2u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (thread < half) {
            let a = range_keys[thread];
            let b = range_keys[thread + half];
            range_keys[thread] = vec2<u32>(min(a.x, b.x), max(a.y, b.y));
        }
    }
    workgroupBarrier();
    return range_keys[0];
}
