// out[r, c] = clamp( Σ_g scale[c, g] · Σ_{l ∈ g} x[r, l] · code[c, l]  +  shifts  +  bias[c] )     on cooperative matrices
//
// Activations are f16. Codes become f16, which holds them exactly, without their scales. A subgroup multiplies whole matrices of
// both and sums the products in f32. At the end of a group the sums are scaled and added to totals. A step is 32 positions along k,
// as the weights are packed, which is 16 · STEP. A workgroup owns a block of the output: gemm/coop_tile.wgsl.
//
// Units must keep subnormal f16. They may add in any order and truncate below the last bit of the largest summand: the bound in
// ops/linear.rs allows for that.
//
// Meaning: reference/linear.rs. Candidates: kernels/grouped/linear.rs. Parameters: grouped/params.wgsl. Layout: weights/layout.rs.
//# import gemm/tile_order
//# import gemm/coop_tile
//# import grouped/params
//# import math/linear_index
//# needs PANEL, Place, codes_at, weight: grouped/scale_streams
//# needs FOUR, staged_four: gemm/coop_staging_*
//# needs SumMatrix: gemm/coop_size_*
//# needs expand, scaled: grouped/lhs_float
//# needs group_scales: grouped/scales*
//# needs load_bias: grouped/bias_none
//# needs store_reals: epilogue/store_f16, epilogue/store_f32, epilogue/store_three, epilogue/store_two
//# constants BITS, GROUP_Y, LHS_SUMS, PACKED, TILE_M

@group(0) @binding(1) var<storage, read> lhs: array<vec4<f16>>;

var<workgroup> lhs_sums: array<f32, TILE_M>;                 // of a group

var<private> totals: array<vec4<f32>, QUADS>;

// Quads beyond the edge are the last quad again; their results are never stored.
fn place_of(quad: u32) -> Place {
    let column = min(quad * 4u, params.columns - 4u);
    let panel = column / PANEL;
    return Place(panel * params.panel_vecs, min(params.columns - panel * PANEL, PANEL), column % PANEL);
}

fn stage_row(row: u32, first_row: u32, piece: u32, step: u32) {
    let x = lhs[min(first_row + row, params.m - 1u) * params.lhs_stride + step * 8u + piece];
    stage_codes(row, piece, x);
}

// Stages half a step of four columns.
fn stage_quad(quad: u32, first_quad: u32, half: u32, step: u32) {
    let place = place_of(first_quad + quad);
    let at = codes_at(place, step, BITS);
    var packed: array<vec4<u32>, PACKED>;
    for (var b = 0u; b < BITS; b += 1u) {
        packed[b] = weight[at + b * (place.width / 4u)];
    }
    for (var lane = 0u; lane < 4u; lane += 1u) {
        for (var piece = 0u; piece < 4u; piece += 1u) {
            stage_codes(TILE_M + quad * 4u + lane, 4u * half + piece, vec4<f16>(expand(&packed, 0u, lane, half, piece)));
        }
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
    let first_row = own.x * TILE_M;
    let first_quad = own.y * (BLOCK_N / 4u);

    let steps = params.steps + opaque_zero(groups);
    var step = 0u;
    for (var weight_group = 0u; step < steps; weight_group += 1u) {
        let stop = min(step + params.group_steps, steps);
        var run_sums: array<SumMatrix, ROWS * COLUMNS>;
        if (LHS_SUMS) {
            for (var row = thread; row < TILE_M; row += THREADS) {
                lhs_sums[row] = 0.0;
            }
        }
        for (; step < stop; step += 1u) {
            for (var slot = thread; slot < TILE_M * 8u; slot += THREADS) {
                stage_row(slot / 8u, first_row, slot % 8u, step);
            }
            for (var slot = thread; slot < BLOCK_N / 2u; slot += THREADS) {
                stage_quad(slot % (BLOCK_N / 4u), first_quad, slot / (BLOCK_N / 4u), step);
            }
            workgroupBarrier();
            if (subgroup < GROUP_Y) {
                add_staged(&run_sums, subgroup);
            }
            if (LHS_SUMS) {
                for (var row = thread; row < TILE_M; row += THREADS) {
                    for (var four = 0u; four < 8u; four += 1u) {
                        let x = staged_four(row * STRIDE + four * FOUR);
                        lhs_sums[row] = lhs_sums[row] + x.x + x.y + x.z + x.w;
                    }
                }
            }
            workgroupBarrier();
        }
        for (var r = 0u; r < ROWS; r += 1u) {
            if (subgroup < GROUP_Y) {
                store_turn(&run_sums, r, subgroup);
            }
            workgroupBarrier();
            for (var q = 0u; q < TURN_QUADS; q += 1u) {
                let i = r * TURN_QUADS + q;
                let place = owned_place(i, thread);
                let scales = group_scales(place_of(first_quad + place.y), weight_group);
                let lhs_sum = select(0.0, lhs_sums[place.x], LHS_SUMS);
                totals[i] += scaled(owned_products(q, thread), lhs_sum, vec4<f32>(0.0), vec2<u32>(0u), 0u, scales);
            }
            workgroupBarrier();
        }
    }

    // A loop that is not unrolled keeps one copy of the long body, as in gemm/tile_sums.wgsl.
    for (var i = 0u; i < QUADS + opaque_zero(groups); i += 1u) {
        let place = owned_place(i, thread);
        let row = first_row + place.x;
        let quad = first_quad + place.y;
        if (row < params.m && quad < params.output_quads) {
            let column = params.first_column + quad * 4u;
            let low = vec4<f32>(bitcast<f32>(params.low));
            let high = vec4<f32>(bitcast<f32>(params.high));
            store_reals(row, column, min(max(totals[0] + load_bias(0u, column), low), high));
        }
        for (var j = 1u; j < QUADS; j += 1u) {
            totals[j - 1u] = totals[j];
        }
    }
}
