// out[pixel, c] = Σ_tap input[tap, c] / count  or  max_tap input[tap, c]     pooling of real numbers
//
// Taps outside the image add nothing and are not visited; `count_padding` says if they count. One invocation owns one element.
//
// Meaning: reference/float_pool.rs. Candidates: kernels/elementwise/float_pool.rs. Parameters: elementwise/pool_params.wgsl, where
// `quads` are elements.
//# import elementwise/pool_params
//# import conv/window
//# import math/linear_index
//# constants GROUP_X, MAXIMUM

@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.quads) {
        return;
    }
    let column = index % params.n;
    let origin = window_origin(index / params.n);
    let taps = taps_inside(origin);
    var total = select(0.0, -3.4028234e38, MAXIMUM);
    for (var z = taps.begin.x; z < taps.end.x; z += 1u) {
        for (var y = taps.begin.y; y < taps.end.y; y += 1u) {
            for (var x = taps.begin.z; x < taps.end.z; x += 1u) {
                let tap = input[tap_pixel(origin, vec3<u32>(z, y, x)) * params.n + column];
                total = select(total + tap, max(total, tap), MAXIMUM);
            }
        }
    }
    output[index] = select(total / f32(max(count_taps(origin, taps), 1u)), total, MAXIMUM);
}
