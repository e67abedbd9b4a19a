// out[pixel, c] = stage( Σ_slice partial[slice, pixel, c] )  or  max_slice partial[slice, pixel, c]
//
// The slices of a large window (elementwise/pool_partial.wgsl) become codes. One invocation owns one quad of one pixel.
//
// Meaning: reference/pool.rs. Candidates: kernels/elementwise/pool.rs. Parameters: elementwise/pool_params.wgsl.
//# import elementwise/pool_params
//# import conv/window
//# import math/linear_index
//# needs load_entries: epilogue/code, epilogue/entries
//# needs store_output: epilogue/code, epilogue/mean, epilogue/requantize
//# constants GROUP_X, MAXIMUM

@group(0) @binding(1) var<storage, read> partials: array<vec4<i32>>;

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
    var total = partials[index];
    for (var slice = 1u; slice < params.slices + opaque_zero(groups); slice += 1u) {
        let partial = partials[slice * params.quads + index];
        total = select(total + partial, max(total, partial), MAXIMUM);
    }
    let pixel = index / params.output_quads;
    let origin = window_origin(pixel);
    let count = max(count_taps(origin, taps_inside(origin)), 1u);
    store_output(pixel, index % params.output_quads, load_entries(vec4<u32>(count - params.least_count)), 0u, total);
}
