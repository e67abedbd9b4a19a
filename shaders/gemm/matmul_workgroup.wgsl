// out[b, r, c] = stage( Σ_k (lhs[r, k] - z[r]) · (weight[k, c] - v[c]) )     integer matmul through workgroup memory
//
// Blocks and their staging: gemm/workgroup_tile.wgsl.
//
// Meaning: reference/matmul.rs. Candidates: kernels/gemm/matmul.rs. Parameters: gemm/params.wgsl.
//# import gemm/tile_order
//# import gemm/workgroup_tile
//# import gemm/params
//# import math/linear_index
//# import epilogue/tables
//# constants BUFFERS, GROUP_X, GROUP_Y, LHS_FLIP, STEP, TILE_M

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
    let weight_batch = enter_batch(own.z, groups);

    let k_vecs = params.k_vecs + opaque_zero(groups);
    for (var start = 0u; start < k_vecs; start += STEP) {
        for (var slot = thread; slot < LHS_VECS; slot += THREADS) {
            let row = min(block_row + slot % BLOCK_M, params.m - 1u);
            let k = start + slot / BLOCK_M;
            let word = lhs[lhs_row(row) * params.k_vecs + min(k, params.k_vecs - 1u)] ^ vec4<u32>(LHS_FLIP);
            let codes = staged_codes(word, k + 1u == params.k_vecs, k >= params.k_vecs);
            staged_lhs[buffer_of(start) * LHS_VECS + slot] = codes;
        }
        stage_weights(thread, start, block_quad, weight_batch * params.k_vecs, params.k_vecs);
        workgroupBarrier();
        add_staged(local.xy, start);
        // With two buffers the next step is staged while other invocations still read the last one.
        if (BUFFERS == 1u) {
            workgroupBarrier();
        }
    }

    store_tile(block_row + local.y * TILE_M, owned_quad(own.y, local.x), weight_batch, groups);
}
