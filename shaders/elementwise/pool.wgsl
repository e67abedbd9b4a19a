// out[pixel, c] = stage( Σ_tap (input[tap, c] - z) )  or  max_tap input[tap, c]     average and max pooling
//
// The average's division by the number of taps is part of the multiplier: the stage has one entry per count. Taps outside the image
// add nothing and are not visited; `count_padding` says if they count. One invocation owns one quad of one pixel.
//
// Meaning: reference/pool.rs. Candidates: kernels/elementwise/pool.rs. Parameters: elementwise/pool_params.wgsl.
//# import elementwise/pool_taps
//# import math/linear_index
//# needs load_entries: epilogue/code, epilogue/entries
//# needs store_output: epilogue/code, epilogue/mean, epilogue/requantize
//# constants GROUP_X

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
    let pixel = index / params.output_quads;
    let quad = index % params.output_quads;
    let source_quad = min(quad, (params.n - 1u) / 4u);
    let origin = window_origin(pixel);
    let taps = taps_inside(origin);
    let total = all_taps(origin, taps, source_quad);
    store_output(pixel, quad, load_entries(vec4<u32>(max(count_taps(origin, taps), 1u) - params.least_count)), 0u, total);
}
