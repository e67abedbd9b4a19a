// out[i] = encode(decode(input[i]))     the same numbers in another format
//
// Every element of the formats that a cast knows is a float32, which is what `decode` makes of it and `encode` takes. One
// invocation owns one output word: LANES = 32 / BITS elements of one row.
//
// Meaning: reference/cast.rs. Candidates: kernels/cast.rs.

struct Params {
    n: u32,                   // columns: the length of the last dimension
    input_words: u32,         // u32 words from one row to the next
    output_words: u32,
    words: u32,               // output words in all
}

const LANES: u32 = 32u / BITS;

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
    let first = (index % params.output_words) * LANES;
    var word = 0u;
    for (var lane = 0u; lane < LANES; lane += 1u) {
        let column = first + lane;
        if (column < params.n) {
            let element = encode(decode(load_element(row, column)));
            word |= (element & (0xffffffffu >> (32u - BITS))) << ((lane * BITS) & 31u);
        }
    }
    output[index] = word;
}
