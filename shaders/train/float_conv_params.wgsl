// The sizes of a two-dimensional convolution of float32, for its three passes.

struct Params {
    image: vec4<u32>,         // batch, height, width, channels
    weights: vec4<u32>,       // outputs, height, width, channels of a group
    output: vec4<u32>,        // batch, height, width, outputs
    windows: vec4<u32>,       // stride down and across, padding on top and to the left
    groups: u32,
    outputs_per_group: u32,
    blocks: u32,              // blocks of BLOCK results along the innermost dimension of a row
    count: u32,               // invocations in all
    slices: u32,              // slices of the batch's pixels, for the gradient of the weights
    slice: u32,               // pixels of a slice
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
