// partial[segment, chunk] = (min, max) of a chunk of a segment of f32, zero included     first half of a dynamic range
//
// A workgroup owns one chunk.
//
// Meaning: reference/dynamic.rs. Candidates: kernels/convert/dynamic.rs. Second half: convert/range_parameters.wgsl.
//# import convert/reduce_range
//# import math/linear_index
//# constants LANES, ROWS

struct Params {
    length: u32,          // elements of a segment (the whole tensor, a row, or a group of a row)
    chunk: u32,           // elements of a chunk
    chunks: u32,          // chunks of a segment
    partials: u32,        // segments · chunks
    row: u32,             // elements from one row of segments to the next
    per_row: u32,         // segments of a row; the last may be shorter
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(6) var<storage, read_write> partial: array<vec2<u32>>;    // ordered keys: min, max

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let index = linear_group(group, groups);
    if (index >= params.partials) {
        return;
    }
    let segment = index / params.chunks;
    let first = (segment % params.per_row) * params.length;
    let start = first + (index % params.chunks) * params.chunk;
    let end = min(min(start + params.chunk, first + params.length), params.row);
    let base = segment / params.per_row * params.row;
    var keys = range_of_none();
    for (var i = start + local.x; i < end; i += LANES) {
        keys = range_with(keys, input[base + i]);
    }
    keys = reduce_range(keys, local.x, local.y);
    if (local.x == 0u) {
        partial[index] = keys;
    }
}
