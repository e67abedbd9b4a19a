// out[b, r, c] = clamp( Σ_k lhs[r, k] · rhs[k, c] + bias[c] )     f32 matmul through workgroup memory
//
//        BLOCK_N columns        A workgroup of GROUP_X x GROUP_Y invocations owns a BLOCK_M x BLOCK_N block of the
//       +----------------+      output: BLOCK_M = GROUP_Y · TILE_M rows, BLOCK_N = GROUP_X · 4 · TILE_Q columns. STEP
//     B |  tile of one   |      fours along k are staged at a time: each float of lhs is read once per block column and
//     M |  invocation:   |      each of rhs once per block row. An invocation owns every GROUP_X-th quad, so that
//       | TILE_M x 4·TILE_Q     neighbours read neighbours.
//       +----------------+
//
// Meaning: reference/float_matmul.rs. Candidates: kernels/gemm/float_matmul.rs. Parameters: gemm/float_params.wgsl.
//# import gemm/tile_order
//# import gemm/float_params
//# import math/linear_index
//# needs load_row: grouped/lhs_float16, grouped/lhs_float32
//# constants BUFFERS, GROUP_X, GROUP_Y, STEP, TILE_M, TILE_Q

const THREADS: u32 = GROUP_X * GROUP_Y;
const BLOCK_M: u32 = GROUP_Y * TILE_M;
const BLOCK_Q: u32 = GROUP_X * TILE_Q;
const LHS_VECS: u32 = BLOCK_M * STEP;
const RHS_VECS: u32 = BLOCK_Q * STEP * 4u;

var<workgroup> staged_lhs: array<vec4<f32>, BUFFERS * LHS_VECS>;    // [buffer][four along k][row]
var<workgroup> staged_rhs: array<vec4<f32>, BUFFERS * RHS_VECS>;    // [buffer][k][quad]

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
    let block_quad = own.y * BLOCK_Q;
    let matrices = operand_rows(own.z, groups);
    let lhs_row = matrices.x * params.m;

    var sums: array<vec4<f32>, TILE_M * TILE_Q>;
    let k_vecs = params.k_vecs + opaque_zero(groups);
    for (var start = 0u; start < k_vecs; start += STEP) {
        let lhs_buffer = start / STEP % BUFFERS * LHS_VECS;
        let rhs_buffer = start / STEP % BUFFERS * RHS_VECS;
        // Elements beyond k are staged as zero on both sides.
        for (var slot = thread; slot < LHS_VECS; slot += THREADS) {
            let row = min(block_row + slot / STEP, params.m - 1u);
            let k = start + slot % STEP;
            let x = load_row((lhs_row + row) * params.lhs_stride + min(k, params.k_vecs - 1u));
            staged_lhs[lhs_buffer + slot % STEP * BLOCK_M + slot / STEP] = select(vec4<f32>(0.0), x, k < params.k_vecs);
        }
        for (var slot = thread; slot < RHS_VECS; slot += THREADS) {
            let place = quad_place(matrices.y, block_quad + slot % BLOCK_Q);
            let k = start * 4u + slot / BLOCK_Q;
            let w = rhs[place.x + min(k, params.k_vecs * 4u - 1u) * place.y];
            staged_rhs[rhs_buffer + slot] = select(vec4<f32>(0.0), w, k < params.k_vecs * 4u);
        }
        workgroupBarrier();
        for (var step = 0u; step < STEP; step += 1u) {
            var x: array<vec4<f32>, TILE_M>;
            for (var i = 0u; i < TILE_M; i += 1u) {
                x[i] = staged_lhs[lhs_buffer + step * BLOCK_M + local.y * TILE_M + i];
            }
            for (var q = 0u; q < TILE_Q; q += 1u) {
                let at = rhs_buffer + step * 4u * BLOCK_Q + q * GROUP_X + local.x;
                let w0 = staged_rhs[at];
                let w1 = staged_rhs[at + BLOCK_Q];
                let w2 = staged_rhs[at + BLOCK_Q * 2u];
                let w3 = staged_rhs[at + BLOCK_Q * 3u];
                for (var i = 0u; i < TILE_M; i += 1u) {
                    sums[i * TILE_Q + q] = sixteen_products(x[i], w0, w1, w2, w3, sums[i * TILE_Q + q]);
                }
            }
        }
        // With two buffers the next step is staged while other invocations still read the last one.
        if (BUFFERS == 1u) {
            workgroupBarrier();
        }
    }

    for (var i = 0u; i < TILE_M; i += 1u) {
        let row = block_row + local.y * TILE_M + i;
        for (var q = 0u; q < TILE_Q; q += 1u) {
            let quad = block_quad + q * GROUP_X + local.x;
            if (row < params.m && quad < params.output_quads) {
                store_total(own.z * params.m + row, quad, sums[i * TILE_Q + q]);
            }
        }
    }
}
