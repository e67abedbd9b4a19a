// Parameters of the loops that pool, elementwise/pool.wgsl, elementwise/pool_partial.wgsl and elementwise/pool_total.wgsl, and what they have in common: which
// taps of a window are inside the image, and what a tap adds. Written by kernels/pool.rs.
//# constants INPUT_SIGNED, MAXIMUM

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
    slice: u32,               // taps of a slice, and slices, where a window is divided
    slices: u32,
    input_scale: u32,         // f32 bits, where an average is summed in floats
    output_scale: u32,
    least_count: u32,         // of taps: where the entries of the output stage begin
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Along each axis the taps from `begin` to before `end`.
struct Taps {
    begin: vec3<u32>,
    end: vec3<u32>,
}

// How many taps of each axis lie before a distance from the first, which may be negative.
fn taps_before(distance: vec3<i32>) -> vec3<u32> {
    let dilation = params.dilation.xyz;
    return min((vec3<u32>(max(distance, vec3<i32>(0))) + dilation - 1u) / dilation, params.kernel.xyz);
}

fn taps_inside(origin: vec4<i32>) -> Taps {
    let begin = taps_before(-origin.xyz);
    return Taps(begin, max(taps_before(vec3<i32>(params.in_size.xyz) - origin.xyz), begin));
}

// How many taps count.
fn count_taps(origin: vec4<i32>, taps: Taps) -> u32 {
    let padded = taps_before(vec3<i32>(params.in_size.xyz + params.pad_end.xyz) - origin.xyz);
    let counted = select(select(taps.end - taps.begin, padded, params.count_padding == 1u), params.kernel.xyz, params.count_padding == 2u);
    return counted.x * counted.y * counted.z;
}

fn no_taps() -> vec4<i32> {
    return vec4<i32>(select(0, select(0, -128, INPUT_SIGNED), MAXIMUM));
}

fn with_tap(total: vec4<i32>, codes: vec4<i32>) -> vec4<i32> {
    return select(total + codes - params.input_zero_point, max(total, codes), MAXIMUM);
}
