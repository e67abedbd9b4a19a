// Products of a block of int8 rows and columns through workgroup memory. A loop over k stages its own rows.
//
//        BLOCK_N columns        A workgroup of GROUP_X x GROUP_Y invocations owns a BLOCK_M x BLOCK_N block of the
//       +----------------+      output: BLOCK_M = GROUP_Y · TILE_M rows, BLOCK_N = GROUP_X · 4 · TILE_Q columns. STEP
//     B |  tile of one   |      vec4<u32> (16 · STEP codes) along k are staged at a time: each word of lhs is read
//     M |  invocation:   |      once per block column and each word of weight once per block row.
//       | TILE_M x 4·TILE_Q     Staged are [step][row] and [step][column of a quad][quad]: neighbours read neighbours.
//       +----------------+
//# import gemm/tile_sums
//# import gemm/weight_panels
//# import gemm/dot
//# params tail
//# needs expand_weight, weight: gemm/weights_*
//# constants BUFFERS, GROUP_X, GROUP_Y, QUAD_STEP, STEP, TILE_M, TILE_Q, WEIGHT_ZERO_POINT

const THREADS: u32 = GROUP_X * GROUP_Y;
const BLOCK_M: u32 = GROUP_Y * TILE_M;
const BLOCK_Q: u32 = GROUP_X * TILE_Q;
const BLOCK_N: u32 = BLOCK_Q * 4u;
const LHS_VECS: u32 = BLOCK_M * STEP;
const WEIGHT_VECS: u32 = BLOCK_N * STEP;

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

var<workgroup> staged_lhs: array<vec4<u32>, BUFFERS * LHS_VECS>;
var<workgroup> staged_weight: array<vec4<u32>, BUFFERS * WEIGHT_VECS>;

// The buffer of the step that begins at vec4 `start` along k.
fn buffer_of(start: u32) -> u32 {
    return start / STEP % BUFFERS;
}

// A vec4 of lhs as it is staged. Weights beyond k are zero, so codes there matter only if lhs is summed. For the sums, all codes
// `beyond` k and the tail of the `last` vec4 are zero.
fn staged_codes(word: vec4<u32>, last: bool, beyond: bool) -> vec4<u32> {
    if (!WEIGHT_ZERO_POINT) {
        return word;
    }
    let mask = select(vec4<u32>(0xffffffffu), params.tail * 255u, last);
    return select(word & mask, vec4<u32>(0u), beyond);
}

// Stages the block's columns from vec4 `start` along k, with zeros beyond `k_vecs`. The matrix begins at `first_row`.
fn stage_weights(thread: u32, start: u32, block_quad: u32, first_row: u32, k_vecs: u32) {
    for (var slot = thread; slot < WEIGHT_VECS; slot += THREADS) {
        let place = weight_place(block_quad + slot % BLOCK_Q);
        let k = start + slot / BLOCK_N;
        let word = expand_weight(weight[weight_at(place, first_row + min(k, k_vecs - 1u), slot / BLOCK_Q % 4u)]);
        staged_weight[buffer_of(start) * WEIGHT_VECS + slot] = select(vec4<u32>(0u), word, k < k_vecs);
    }
}

// Adds the products of the staged codes to the sums of the tile.
fn add_staged(local: vec2<u32>, start: u32) {
    for (var step = 0u; step < STEP; step += 1u) {
        let row = buffer_of(start) * LHS_VECS + step * BLOCK_M + local.y * TILE_M;
        var codes: array<vec4<u32>, TILE_M>;
        for (var i = 0u; i < TILE_M; i += 1u) {
            codes[i] = staged_lhs[row + i];
        }
        if (WEIGHT_ZERO_POINT) {
            for (var i = 0u; i < TILE_M; i += 1u) {
                lhs_sums[i] += dot16(codes[i], ALL_ONES);
            }
        }
        for (var q = 0u; q < TILE_Q; q += 1u) {
            let column = buffer_of(start) * WEIGHT_VECS + step * BLOCK_N + owned_quad(0u, local.x) + q * QUAD_STEP;
            let w0 = staged_weight[column];
            let w1 = staged_weight[column + BLOCK_Q];
            let w2 = staged_weight[column + BLOCK_Q * 2u];
            let w3 = staged_weight[column + BLOCK_Q * 3u];
            for (var i = 0u; i < TILE_M; i += 1u) {
                let s = sums[q * TILE_M + i];
                sums[q * TILE_M + i] = vec4<i32>(
                    add_dot16(s.x, codes[i], w0), add_dot16(s.y, codes[i], w1),
                    add_dot16(s.z, codes[i], w2), add_dot16(s.w, codes[i], w3),
                );
            }
        }
    }
}
