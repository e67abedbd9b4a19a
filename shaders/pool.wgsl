// out[pixel, c] = stage( Σ_tap (input[tap, c] - z) )  or  max_tap input[tap, c]     average and max pooling
//
// The average's division by the number of taps is part of the multiplier: the stage has one entry per count. Taps
// outside the image add nothing; whether they count is `count_padding`. One invocation owns one quad of one pixel.
//
// Meaning: reference/pool.rs. Candidates: kernels/pool.rs.

struct Params {
    in_size: vec4<u32>,       // depth, height, width, -
    out_size: vec4<u32>,
    kernel: vec4<u32>,
    stride: vec4<u32>,
    dilation: vec4<u32>,
    pad: vec4<u32>,           // before the first element of each axis
    pad_end: vec4<u32>,       // after the last
    n: u32,                   // channels
    input_words: u32,         // u32 words of one pixel
    output_words: u32,
    output_quads: u32,        // quads written per pixel, padding included
    quads: u32,               // quads in all
    input_zero_point: i32,
    zero_point: i32,          // of the output codes
    low: u32,                 // least and greatest output code
    high: u32,
    count_padding: u32,       // 1: taps in the padding count
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

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
    var sum = vec4<i32>(0);
    var greatest = vec4<i32>(select(0, -128, INPUT_SIGNED));
    var count = 0u;
    for (var z = 0u; z < params.kernel.x; z += 1u) {
        for (var y = 0u; y < params.kernel.y; y += 1u) {
            for (var x = 0u; x < params.kernel.z; x += 1u) {
                let tap = vec3<u32>(z, y, x);
                if (tap_inside(origin, tap)) {
                    let codes = load_input(tap_pixel(origin, tap), source_quad);
                    sum += codes - params.input_zero_point;
                    greatest = max(greatest, codes);
                    count += 1u;
                } else if (params.count_padding == 1u) {
                    let at = vec3<u32>(origin.xyz + vec3<i32>(tap * params.dilation.xyz + params.pad.xyz));
                    count += select(0u, 1u, all(at < params.pad.xyz + params.in_size.xyz + params.pad_end.xyz));
                }
            }
        }
    }
    store_output(pixel, quad, vec4<u32>(max(count, 1u) - 1u), 0u, select(sum, greatest, MAXIMUM));
}
