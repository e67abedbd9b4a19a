// out[o, j, i] = data[o, indices[j], i]     o: axes before the gathered one, j: all axes of the indices, i: axes after it
//
// Moves bits only. An index outside the axis gives `fill`. One invocation owns one output word: LANES = 32 / BITS elements of one
// row.
//
// Meaning: reference/gather.rs. Candidates: kernels/layout/gather.rs.
//# import math/linear_index
//# constants BITS, GROUP_X

struct Params {
    n: u32,                   // columns: the length of the output's last dimension; the next field: of the data's
    data_n: u32,
    words: u32,               // u32 words of an output row; the next field: of a row of the data
    data_words: u32,
    invocations: u32,
    count: u32,               // indices
    extent: u32,              // of the gathered axis
    inner: u32,               // elements after it
    fill: u32,
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> data: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<i32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

const LANES: u32 = 32u / BITS;
const MASK: u32 = 0xffffffffu >> (32u - BITS);

fn element(place: u32) -> u32 {
    let outer = place / params.inner;
    let chosen = indices[outer % params.count];
    let index = u32(chosen + select(0, i32(params.extent), chosen < 0));     // what is still negative turns huge
    if (index >= params.extent) {
        return params.fill;
    }
    let source = (outer / params.count * params.extent + index) * params.inner + place % params.inner;
    let column = source % params.data_n;
    return (data[source / params.data_n * params.data_words + column / LANES] >> (column % LANES * BITS)) & MASK;
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.invocations) {
        return;
    }
    let first = (index % params.words) * LANES;
    let row = index / params.words;
    var word = 0u;
    for (var lane = 0u; lane < LANES; lane += 1u) {
        if (first + lane < params.n) {
            word |= element(row * params.n + first + lane) << (lane * BITS);
        }
    }
    output[index] = word;
}
