// Parameters of the convolution loops: conv/conv.wgsl, conv/conv_words.wgsl, conv/conv_workgroup.wgsl, conv/conv_grouped.wgsl,
// conv/depthwise.wgsl, conv/depthwise_row.wgsl, and the rows of their tiles. Written by kernels/conv/conv.rs.
//# constants TRANSPOSED

struct Params {
    in_size: vec4<u32>,       // depth, height, width, -
    out_size: vec4<u32>,
    kernel: vec4<u32>,
    stride: vec4<u32>,
    dilation: vec4<u32>,
    pad: vec4<u32>,           // before the first element of each axis; negative if elements are skipped
    place_first: vec4<u32>,   // first output pixel of the launch along each axis
    place_step: vec4<u32>,
    place_size: vec4<u32>,    // sizes of the output
    tail: vec4<u32>,          // 0x01 for each byte of the last vec4 of a group that holds a channel
    n: u32,                   // end of this launch's output channels
    first_column: u32,        // begin of this launch's output channels
    pixels: u32,              // output pixels, all images
    pixel_words: u32,         // u32 words of one input pixel
    group_channels: u32,      // input channels of a group
    group_outputs: u32,       // output channels of a group
    weight_stride: u32,       // see gemm/weights_*.wgsl, or the picture in the loop's file
    columns_at: u32,          // begin of the table of channels in the weights; the next field: begin of the rows in the tables
    rows_at: u32,
    output_quads: u32,        // quads written per pixel by this launch, padding included
    output_words: u32,        // u32 words from one output pixel to the next
    rows: u32,                // 1: all pixels share one scale and zero point
    column_stride: u32,       // 0: one stage entry per output channel
    tiles: u32,               // workgroups that have work
    tiles_m: u32,             // workgroups along the pixels
    tiles_n: u32,             // workgroups along the channels
    rows_first: u32,          // see gemm/tile_order.wgsl
    zero_point: i32,          // of the output codes
    low: u32,                 // least and greatest output code (or ordered f32 key)
    high: u32,
    row_tiles: u32,           // tiles side by side along an output row
    weight_rows: u32,         // rows of packed vec4s: groups · taps · vec4s of a group
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Rows of a tile are pixels. lhs has one scale.
fn has_row(row: u32) -> bool {
    return row < params.pixels;
}

fn lhs_row(row: u32) -> u32 {
    return 0u;
}

fn output_row(row: u32) -> u32 {
    return output_pixel(row);
}

// Output pixel of a launch's pixel. Pixels follow each other or, if TRANSPOSED, lie along each axis at `place_first` + index ·
// `place_step`.
fn output_pixel(pixel: u32) -> u32 {
    if (!TRANSPOSED) {
        return pixel;
    }
    let x = pixel % params.out_size.z;
    let xy = pixel / params.out_size.z;
    let y = xy % params.out_size.y;
    let xyz = xy / params.out_size.y;
    let z = xyz % params.out_size.x;
    let at = params.place_first.xyz + vec3<u32>(z, y, x) * params.place_step.xyz;
    let size = params.place_size;
    return (((xyz / params.out_size.x) * size.x + at.x) * size.y + at.y) * size.z + at.z;
}
