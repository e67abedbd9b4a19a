// packed[b, r, c] = float of input[b, r, c], or of input[b, c, r] if TRANSPOSED; zero in the padding
//
// Packed rows are whole vec4<f32>. There may be more packed rows than input rows. They lie in panels of `panel_vecs` vec4s; the
// last panel may be narrower. One invocation owns one vec4.
//
// Meaning: it moves numbers only; reference/float_matmul.rs reads operands as they are. Candidates: kernels/gemm/float_matmul.rs.
//# import math/linear_index
//# import convert/load_element
//# needs decode: convert/decode_float16, convert/decode_float32
//# constants GROUP_X, TRANSPOSED

struct Params {
    rows: u32,
    columns: u32,
    packed_rows: u32,         // rows of a packed matrix
    packed_vecs: u32,         // vec4<f32> of a packed row
    input_words: u32,         // u32 words from one input row to the next
    vecs: u32,                // vec4<f32> in all
    panel_vecs: u32,          // vec4<f32> of a row of a panel
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> packed: array<vec4<u32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.vecs) {
        return;
    }
    let row = index / params.packed_vecs % params.packed_rows;
    let matrix = index / params.packed_vecs / params.packed_rows;
    let first = index % params.packed_vecs * 4u;
    var floats = vec4<u32>(0u);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = first + lane;
        if (row < params.rows && column < params.columns) {
            let input_row = select(matrix * params.rows + row, matrix * params.columns + column, TRANSPOSED);
            floats[lane] = decode(load_element(input_row, select(column, row, TRANSPOSED)));
        }
    }
    let panel = first / 4u / params.panel_vecs;
    let width = min(params.packed_vecs - panel * params.panel_vecs, params.panel_vecs);
    let start = (matrix * params.packed_vecs + panel * params.panel_vecs) * params.packed_rows;
    packed[start + row * width + first / 4u % params.panel_vecs] = floats;
}
