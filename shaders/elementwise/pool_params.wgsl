// Parameters and common functions of the pooling loops, elementwise/pool.wgsl, elementwise/pool_partial.wgsl and
// elementwise/pool_total.wgsl: the taps of a window inside the image. Written by kernels/elementwise/pool.rs.

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
    count_padding: u32,       // 1: taps in the padding count, 2: all taps do
    slice: u32,               // taps of a slice; the next field: slices of a divided window
    slices: u32,
    input_scale: u32,         // f32 bits, if an average is summed in floats
    output_scale: u32,
    least_count: u32,         // least count of taps: the output stage's first entry
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// The taps inside the image: along each axis from `begin` to before `end`.
struct Taps {
    begin: vec3<u32>,
    end: vec3<u32>,
}

// Number of taps of each axis before a distance from the first tap, which may be negative.
fn taps_before(distance: vec3<i32>) -> vec3<u32> {
    let dilation = params.dilation.xyz;
    return min((vec3<u32>(max(distance, vec3<i32>(0))) + dilation - 1u) / dilation, params.kernel.xyz);
}

fn taps_inside(origin: vec4<i32>) -> Taps {
    let begin = taps_before(-origin.xyz);
    return Taps(begin, max(taps_before(vec3<i32>(params.in_size.xyz) - origin.xyz), begin));
}

// Number of taps that count.
fn count_taps(origin: vec4<i32>, taps: Taps) -> u32 {
    let padded = taps_before(vec3<i32>(params.in_size.xyz + params.pad_end.xyz) - origin.xyz);
    let counted = select(select(taps.end - taps.begin, padded, params.count_padding == 1u), params.kernel.xyz, params.count_padding == 2u);
    return counted.x * counted.y * counted.z;
}
