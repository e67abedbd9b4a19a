// out[…, j, …, i] = input[…, i, …, j]     rows become columns, in blocks
//
// The input's last axis becomes another one, and another one the last: NHWC and NCHW. Words of the input hold neighbours
// along j, words of the output neighbours along i, LANES = 32 / BITS of them. One invocation owns a block:
//
//     input words      i 0:  j 0  1  2  3          output words     j 0:  i 0  1  2  3
//                      i 1:  j 0  1  2  3    ->                     j 1:  i 0  1  2  3
//                      …                                            …
//
// Moves bits only. Meaning: reference/transpose.rs. Candidates: kernels/rearrange.rs. Parameters: params/rearrange.wgsl.

const LANES: u32 = 32u / BITS;

@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

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
    let place = index % params.output_words;
    var rest = index / params.output_words;
    var source = Source(params.word, params.element, true);
    var row = 0u;
    var rows = 1u;            // output rows of one index of an axis
    var step = 0u;            // output rows from one j to the next, and how many j there are from here on
    var left = 0u;
    for (var i = 0u; i < params.axes; i += 1u) {
        let axis = params.outer[i];
        let is_j = axis.w == 1u;
        let count = select(axis.x, (axis.x + LANES - 1u) / LANES, is_j);
        let at = select(rest % count, rest % count * LANES, is_j);
        rest = rest / count;
        source = advance(source, axis, at);
        row += at * rows;
        if (is_j) {
            step = rows;
            left = axis.x - at;
        }
        rows *= axis.x;
    }
    var words: array<u32, LANES>;
    for (var k = 0u; k < LANES; k += 1u) {
        let column = place * LANES + k;
        if (column < params.n) {
            words[k] = input[source.word + along(params.inner, column) + source.element / LANES];
        }
    }
    for (var j = 0u; j < min(left, LANES); j += 1u) {
        var word = 0u;
        for (var k = 0u; k < LANES; k += 1u) {
            word |= ((words[k] >> (j * BITS)) & (0xffffffffu >> (32u - BITS))) << (k * BITS);
        }
        output[(row + j * step) * params.output_words + place] = word;
    }
}
