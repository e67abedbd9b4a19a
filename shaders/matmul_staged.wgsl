// out[b, r, c] = stage( Σ_k (lhs[r, k] - z[r]) · (weight[k, c] - v[c]) )     integer matmul through workgroup memory
//
//        BLOCK_N columns        A workgroup of GROUP_X x GROUP_Y invocations owns a BLOCK_M x BLOCK_N block of the
//       +----------------+      output: BLOCK_M = GROUP_Y · TILE_M rows, BLOCK_N = GROUP_X · 4 · TILE_Q columns. STEP
//     B |  tile of one   |      vec4<u32> (16 · STEP codes) along k are staged at a time, so that each word of lhs is
//     M |  invocation:   |      read once per block column and each word of weight once per block row.
//       | TILE_M x 4·TILE_Q     Staged words lie [step][row or column]: neighbours read neighbours.
//       +----------------+
//
// Meaning: reference/matmul.rs. Candidates: kernels/matmul.rs. Parameters: params/matmul.wgsl.

const THREADS: u32 = GROUP_X * GROUP_Y;
const BLOCK_M: u32 = GROUP_Y * TILE_M;
const BLOCK_N: u32 = GROUP_X * 4u * TILE_Q;
const LHS_VECS: u32 = BLOCK_M * STEP;
const WEIGHT_VECS: u32 = BLOCK_N * STEP;

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

var<workgroup> staged_lhs: array<vec4<u32>, BUFFERS * LHS_VECS>;
var<workgroup> staged_weight: array<vec4<u32>, BUFFERS * WEIGHT_VECS>;

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = linear_group(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let own = tile_place(tile);
    let block_row = own.x * BLOCK_M;
    let block_column = own.y * BLOCK_N;
    let weight_batch = enter_batch(own.z);

    let k_vecs = params.k_vecs + hidden_zero(groups);
    for (var start = 0u; start < k_vecs; start += STEP) {
        let lhs_buffer = start / STEP % BUFFERS * LHS_VECS;
        let weight_buffer = start / STEP % BUFFERS * WEIGHT_VECS;
        // What lies beyond k is staged as zero weight, so the lhs word there may be anything.
        for (var slot = thread; slot < LHS_VECS; slot += THREADS) {
            let row = min(block_row + slot % BLOCK_M, params.m - 1u);
            let k = min(start + slot / BLOCK_M, params.k_vecs - 1u);
            staged_lhs[lhs_buffer + slot] = lhs[lhs_row(row) * params.k_vecs + k] ^ vec4<u32>(LHS_FLIP);
        }
        for (var slot = thread; slot < WEIGHT_VECS; slot += THREADS) {
            let place = weight_place(min(block_column + slot % BLOCK_N, params.weight_stride - 1u));
            let k = start + slot / BLOCK_N;
            let k_row = weight_batch * params.k_vecs + min(k, params.k_vecs - 1u);
            let word = load_weight(place.x + k_row * place.y);
            staged_weight[weight_buffer + slot] = select(vec4<u32>(0u), word, k < params.k_vecs);
        }
        workgroupBarrier();
        for (var step = 0u; step < STEP; step += 1u) {
            var codes: array<vec4<u32>, TILE_M>;
            for (var i = 0u; i < TILE_M; i += 1u) {
                codes[i] = staged_lhs[lhs_buffer + step * BLOCK_M + local.y * TILE_M + i];
            }
            if (WEIGHT_ZERO_POINT) {
                let k = start + step;
                var ones = select(ALL_ONES, params.tail, k + 1u == params.k_vecs);
                ones = select(vec4<u32>(0u), ones, k < params.k_vecs);
                for (var i = 0u; i < TILE_M; i += 1u) {
                    lhs_sums[i] += dot16(codes[i], ones);
                }
            }
            for (var q = 0u; q < TILE_Q; q += 1u) {
                let column = weight_buffer + step * BLOCK_N + (local.x * TILE_Q + q) * 4u;
                let w0 = staged_weight[column];
                let w1 = staged_weight[column + 1u];
                let w2 = staged_weight[column + 2u];
                let w3 = staged_weight[column + 3u];
                for (var i = 0u; i < TILE_M; i += 1u) {
                    sums[q * TILE_M + i] += vec4<i32>(
                        dot16(codes[i], w0), dot16(codes[i], w1), dot16(codes[i], w2), dot16(codes[i], w3),
                    );
                }
            }
        }
        // With two buffers the next step is staged beside what others still read.
        if (BUFFERS == 1u) {
            workgroupBarrier();
        }
    }

    store_tile(block_row + local.y * TILE_M, block_column / 4u + local.x * TILE_Q, weight_batch, groups);
}
