// scale[r, b] = code of the largest size in block b of row r     the scales of MX and NVFP4
//
// A size is a bit pattern without sign, so sizes have the order of their numbers. NaN is left out; infinity counts as the largest
// finite number. One invocation owns one word: four scales, and their 4 · BLOCK elements. `scale_code` is in
// convert/block_scale_*.wgsl.
//
// Meaning: reference/block.rs. Candidates: kernels/convert/block.rs.
//# import math/linear_index
//# import convert/load_element
//# needs decode: convert/decode_float16, convert/decode_float32
//# needs scale_code: convert/block_scale_*
//# constants BLOCK, GROUP_X

struct Params {
    n: u32,                    // elements of a row
    blocks: u32,               // scales of a row
    input_words: u32,          // words of one row
    output_words: u32,
    words: u32,                // output words in all
    global: u32,               // f32 bits of the global scale, which divides all scales
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.words) {
        return;
    }
    let row = index / params.output_words;
    let first = (index % params.output_words) * 4u;
    var word = 0u;
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (first + lane < params.blocks) {
            let start = (first + lane) * BLOCK;
            let end = min(start + BLOCK, params.n);
            var size = 0u;
            for (var column = start; column < end; column += 1u) {
                let magnitude = decode(load_element(row, column)) & 0x7fffffffu;
                size = max(size, select(min(magnitude, 0x7f7fffffu), 0u, magnitude > 0x7f800000u));
            }
            word |= scale_code(size) << (8u * lane);
        }
    }
    output[index] = word;
}
