// partial[slice, pixel, c] = Σ_tap (input[tap, c] - z)  or  max_tap input[tap, c]     over a slice of a large window
//
// The taps inside the image are counted row by row. Slice s has at most `slice` taps, from s · `slice` on.
// elementwise/pool_total.wgsl combines the slices. One invocation owns one quad of one pixel in one slice.
//
// Meaning: reference/pool.rs. Candidates: kernels/elementwise/pool.rs. Parameters: elementwise/pool_params.wgsl.
//# import elementwise/pool_taps
//# import math/linear_index
//# constants GROUP_X

@group(0) @binding(6) var<storage, read_write> partials: array<vec4<i32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.quads * params.slices) {
        return;
    }
    let pixel = (index % params.quads) / params.output_quads;
    let source_quad = min(index % params.output_quads, (params.n - 1u) / 4u);
    let origin = window_origin(pixel);
    let taps = taps_inside(origin);
    let sizes = taps.end - taps.begin;
    let begin = (index / params.quads) * params.slice;
    let end = min(begin + params.slice, sizes.x * sizes.y * sizes.z);
    var total = no_taps();
    if (begin < end) {
        var tap = taps.begin + vec3<u32>(begin / (sizes.y * sizes.z), begin / sizes.z % sizes.y, begin % sizes.z);
        for (var i = begin; i < end; i += 1u) {
            total = with_tap(total, load_input(tap_pixel(origin, tap), source_quad));
            tap.z += 1u;
            if (tap.z == taps.end.z) {
                tap.z = taps.begin.z;
                tap.y += 1u;
                if (tap.y == taps.end.y) {
                    tap.y = taps.begin.y;
                    tap.x += 1u;
                }
            }
        }
    }
    partials[index] = total;
}
