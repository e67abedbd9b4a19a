// out[b, r, c] = stage( Σ_k (lhs[r, k] - z[r]) · (weight[k, c] - v[c]) )     integer matmul on cooperative matrices
//
// Codes are int8 and become f16. A subgroup multiplies whole matrices and sums the products in f32. That is exact: a product is an
// integer of at most 2^14 in size. In a run of 1,024 products, in any order, every partial sum is an integer of at most 2^24, which
// f32 holds. Some units truncate below the last bit of the largest summand, instead of rounding; here they have nothing to
// truncate. After a run the sums go on in i32. A workgroup owns a block of the output: gemm/coop_tile.wgsl.
//
// Meaning: reference/matmul.rs. Candidates: kernels/gemm/matmul.rs. Parameters: gemm/params.wgsl.
//# import gemm/tile_order
//# import gemm/coop_tile
//# import gemm/weight_panels
//# import gemm/params
//# import math/linear_index
//# import gemm/dot
//# import gemm/zero_point
//# import epilogue/tables
//# needs SumMatrix: gemm/coop_size_*
//# needs expand_weight, weight: gemm/weights_*
//# needs row_parameters: gemm/row_parameters_*
//# constants GROUP_Y, LHS_FLIP, STEP, TILE_M, WEIGHT_ZERO_POINT

const RUN: u32 = 1024u / 16u;

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

var<workgroup> lhs_sums: array<i32, TILE_M>;

var<private> sums: array<vec4<i32>, QUADS>;

// Stages sixteen codes of a row of lhs or, after those rows, of a column of weights.
fn stage(row: u32, step: u32, codes: vec4<u32>) {
    for (var word = 0u; word < 4u; word += 1u) {
        stage_codes(row, 4u * step + word, vec4<f16>(unpack4xI8(codes[word])));
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let tile = linear_group(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let own = tile_place(tile);
    let block_row = own.x * TILE_M;
    let block_quad = own.y * (BLOCK_N / 4u);
    let weight_batch = enter_batch(own.z, groups);

    let k_vecs = params.k_vecs + opaque_zero(groups);
    for (var run = 0u; run < k_vecs; run += RUN) {
        var run_sums: array<SumMatrix, ROWS * COLUMNS>;
        for (var start = run; start < min(run + RUN, k_vecs); start += STEP) {
            // Weights beyond k are staged as zero, so the lhs word there may hold any codes.
            for (var slot = thread; slot < TILE_M * STEP; slot += THREADS) {
                let row = min(block_row + slot / STEP, params.m - 1u);
                let k = min(start + slot % STEP, params.k_vecs - 1u);
                let codes = lhs[lhs_row(row) * params.k_vecs + k] ^ vec4<u32>(LHS_FLIP);
                stage(slot / STEP, slot % STEP, codes);
            }
            for (var slot = thread; slot < BLOCK_N * STEP; slot += THREADS) {
                let quad = slot % (BLOCK_N / 4u);
                let column = slot / (BLOCK_N / 4u) % 4u;
                let k = start + slot / BLOCK_N;
                let k_row = weight_batch * params.k_vecs + min(k, params.k_vecs - 1u);
                let codes = expand_weight(weight[weight_at(weight_place(block_quad + quad), k_row, column)]);
                stage(TILE_M + quad * 4u + column, slot / BLOCK_N, select(vec4<u32>(0u), codes, k < params.k_vecs));
            }
            workgroupBarrier();
            if (subgroup < GROUP_Y) {
                add_staged(&run_sums, subgroup);
            }
            workgroupBarrier();
        }
        for (var r = 0u; r < ROWS; r += 1u) {
            if (subgroup < GROUP_Y) {
                store_turn(&run_sums, r, subgroup);
            }
            workgroupBarrier();
            for (var q = 0u; q < TURN_QUADS; q += 1u) {
                sums[r * TURN_QUADS + q] += vec4<i32>(owned_products(q, thread));
            }
            workgroupBarrier();
        }
    }

    if (WEIGHT_ZERO_POINT) {
        for (var i = thread; i < TILE_M; i += THREADS) {
            let first = lhs_row(min(block_row + i, params.m - 1u)) * params.k_vecs;
            var sum = 0;
            for (var k = 0u; k < k_vecs; k += 1u) {
                sum += dot16(lhs[first + k] ^ vec4<u32>(LHS_FLIP), ALL_ONES);
            }
            if (k_vecs > 0u) {
                // Codes beyond k meet weights of 0, but they are in the sums of lhs.
                sum -= dot16(lhs[first + k_vecs - 1u] ^ vec4<u32>(LHS_FLIP), ALL_ONES - params.tail);
            }
            lhs_sums[i] = sum;
        }
        workgroupBarrier();
    }

    // A loop that is not unrolled keeps one copy of the long body, as in gemm/tile_sums.wgsl.
    for (var i = 0u; i < QUADS + opaque_zero(groups); i += 1u) {
        let place = owned_place(i, thread);
        let row = block_row + place.x;
        let quad = block_quad + place.y;
        if (has_row(row) && quad < params.output_quads) {
            let lhs_sum = select(0, lhs_sums[place.x], WEIGHT_ZERO_POINT);
            let columns = load_columns(output_row(row), weight_batch, quad);
            store_products(output_row(row), quad, row_parameters(lhs_row(row)), columns, sums[0], vec4<i32>(lhs_sum));
        }
        for (var j = 1u; j < QUADS; j += 1u) {
            sums[j - 1u] = sums[j];
        }
    }
}
