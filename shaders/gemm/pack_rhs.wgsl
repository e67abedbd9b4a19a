// packed[panel, b, k / 16, c] and (Σ_k (w - v), v) of a matmul's right operand that is computed on the device
//
// Input is rows of WEIGHT_BITS-bit codes: [batch, k, n], or [batch, n, k] if TRANSPOSED. Output is the layout of
// gemm/weights_int8.wgsl. One invocation owns one quad of columns of one batch.
//
// Meaning: it moves bytes only; reference/matmul.rs reads the operand as it is. Candidates: kernels/gemm/matmul.rs.
//# import gemm/weight_panels
//# import math/linear_index
//# import gemm/dot
//# constants GROUP_X, TRANSPOSED, WEIGHT_BITS, WEIGHT_FLIP, WEIGHT_SHIFT

struct Params {
    k: u32,
    n: u32,
    k_vecs: u32,              // vec4<u32> (16 codes) along k
    input_words: u32,         // u32 words of an input row
    weight_stride: u32,       // columns of packed weights, n padded to 4
    parameter_step: u32,      // 1: each column has its own zero point, 0: all share the first
    columns_at: u32,          // vec4 where the table of columns begins
    quads: u32,               // weight_stride / 4 · batches
    weight_rows: u32,         // batches · k_vecs
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(3) var<storage, read> parameters: array<vec2<u32>>;       // per column: scale (f32 bits), zero point
@group(0) @binding(6) var<storage, read_write> packed: array<vec4<u32>>;

const LANES: u32 = 32u / WEIGHT_BITS;

// The code at (k, column) minus WEIGHT_SHIFT, as int8 bits; zero outside. Flipping the top bit subtracts the shift.
fn load_code(batch: u32, k: u32, column: u32) -> u32 {
    if (k >= params.k || column >= params.n) {
        return 0u;
    }
    let row = select(batch * params.k + k, batch * params.n + column, TRANSPOSED);
    let place = select(column, k, TRANSPOSED);
    let word = input[row * params.input_words + place / LANES] ^ WEIGHT_FLIP;
    return (word >> (WEIGHT_BITS * (place % LANES))) & ((1u << WEIGHT_BITS) - 1u);
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.quads) {
        return;
    }
    let quads = params.weight_stride / 4u;
    let batch = index / quads;
    let first = (index % quads) * 4u;
    var entries: array<vec2<i32>, 4>;
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = first + lane;
        let place = weight_place(column / 4u);
        var sum = 0;
        for (var k_vec = 0u; k_vec < params.k_vecs + opaque_zero(groups); k_vec += 1u) {
            var words = vec4<u32>(0u);
            for (var i = 0u; i < 16u; i += 1u) {
                words[i / 4u] |= load_code(batch, k_vec * 16u + i, column) << (8u * (i % 4u));
            }
            sum += dot16(words, ALL_ONES);
            packed[weight_at(place, batch * params.k_vecs + k_vec, lane)] = words;
        }
        if (column < params.n) {
            let zero_point = bitcast<i32>(parameters[column * params.parameter_step].y) - WEIGHT_SHIFT;
            entries[lane] = vec2<i32>(sum - i32(params.k) * zero_point, zero_point);
        }
    }
    let at = params.columns_at + (batch * params.weight_stride + first) / 2u;
    packed[at] = bitcast<vec4<u32>>(vec4<i32>(entries[0], entries[1]));
    packed[at + 1u] = bitcast<vec4<u32>>(vec4<i32>(entries[2], entries[3]));
}
