// Input pixels of an output pixel of a convolution or pool. Images are [batch, depth, height, width, channel], channels innermost.
// One or two spatial dimensions are three with leading ones of size 1.
//# params dilation, in_size, out_size, pad, stride

// The input coordinates (depth, height, width) of tap (0, 0, 0), which may be negative, and the batch index in w.
fn window_origin(pixel: u32) -> vec4<i32> {
    let x = pixel % params.out_size.z;
    let xy = pixel / params.out_size.z;
    let y = xy % params.out_size.y;
    let xyz = xy / params.out_size.y;
    let z = xyz % params.out_size.x;
    let origin = vec3<i32>(vec3<u32>(z, y, x) * params.stride.xyz) - vec3<i32>(params.pad.xyz);
    return vec4<i32>(origin, i32(xyz / params.out_size.x));
}

fn tap_inside(origin: vec4<i32>, tap: vec3<u32>) -> bool {
    let at = vec3<u32>(origin.xyz + vec3<i32>(tap * params.dilation.xyz));     // negative turns huge
    return all(at < params.in_size.xyz);
}

// The linear index of the input pixel under a tap; undefined if tap_inside is false.
fn tap_pixel(origin: vec4<i32>, tap: vec3<u32>) -> u32 {
    let at = vec3<u32>(origin.xyz + vec3<i32>(tap * params.dilation.xyz));
    return ((u32(origin.w) * params.in_size.x + at.x) * params.in_size.y + at.y) * params.in_size.z + at.z;
}

// The first pixel of the image row under taps (z, y, …), and its number of columns: 0 if the row is outside the image.
fn tap_row(origin: vec4<i32>, z: u32, y: u32) -> vec2<u32> {
    let at = vec2<u32>(origin.xy + vec2<i32>(vec2<u32>(z, y) * params.dilation.xy));
    let row = ((u32(origin.w) * params.in_size.x + at.x) * params.in_size.y + at.y) * params.in_size.z;
    return select(vec2<u32>(0u), vec2<u32>(row, params.in_size.z), all(at < params.in_size.xy));
}

// The column of that row under tap x; a huge number if it is negative.
fn tap_column(origin: vec4<i32>, x: u32) -> u32 {
    return u32(origin.z + i32(x * params.dilation.z));
}
