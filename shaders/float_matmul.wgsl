// out[b, r, c] = clamp( Σ_k lhs[r, k] · rhs[k, c] + bias[c] )     f32 matmul from registers
//
//            columns ->  | quad 0 | quad 1 |     One invocation owns TILE_M rows and TILE_Q quads (four columns each). It
//     rows               +--------+--------+     reads four floats of each row along k and four rows of each quad straight
//       |   TILE_M = 4   | 16 sums| 16 sums|     from storage: no workgroup memory, unless k is cut.
//       v                +--------+--------+
//
// GROUP_X neighbours own neighbouring quads. GROUP_Y more own further rows or, where SLICED, slices of k, whose totals
// are added in order.
//
// Meaning: reference/float_matmul.rs. Candidates: kernels/float_matmul.rs. Parameters: params/float_matmul.wgsl.

var<workgroup> partial: array<vec4<f32>, GROUP_X * SLICES>;

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = linear_group(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let slice = select(0u, local.y, SLICED);
    let row_lane = select(local.y, 0u, SLICED);
    let rest = tile / params.tiles_n;
    let batch = rest / params.tiles_m;
    let first_row = ((rest % params.tiles_m) * select(GROUP_Y, 1u, SLICED) + row_lane) * TILE_M;
    let first_quad = ((tile % params.tiles_n) * GROUP_X + local.x) * TILE_Q;
    let matrices = batch_matrices(batch);

    // Tiles that stick out read the last row or quad again; what they compute there is never stored.
    let begin = min(slice * params.slice_vecs, params.k_vecs);
    let end = min(begin + params.slice_vecs, params.k_vecs);
    var lhs_at: array<u32, TILE_M>;
    for (var i = 0u; i < TILE_M; i += 1u) {
        lhs_at[i] = (matrices.x * params.m + min(first_row + i, params.m - 1u)) * params.lhs_stride;
    }
    let rhs_row = (matrices.y * params.k_vecs + begin) * 4u * params.rhs_quads;
    var rhs_at: array<u32, TILE_Q>;
    for (var q = 0u; q < TILE_Q; q += 1u) {
        rhs_at[q] = rhs_row + min(first_quad + q, params.rhs_quads - 1u);
    }

    var sums: array<vec4<f32>, TILE_M * TILE_Q>;
    for (var k = begin; k < end; k += 1u) {
        var x: array<vec4<f32>, TILE_M>;
        for (var i = 0u; i < TILE_M; i += 1u) {
            x[i] = load_lhs(lhs_at[i] + k, 0u, 0u, 0u);
        }
        for (var q = 0u; q < TILE_Q; q += 1u) {
            let w0 = rhs[rhs_at[q]];
            let w1 = rhs[rhs_at[q] + params.rhs_quads];
            let w2 = rhs[rhs_at[q] + params.rhs_quads * 2u];
            let w3 = rhs[rhs_at[q] + params.rhs_quads * 3u];
            rhs_at[q] += params.rhs_quads * 4u;
            for (var i = 0u; i < TILE_M; i += 1u) {
                sums[i * TILE_Q + q] = sixteen_products(x[i], w0, w1, w2, w3, sums[i * TILE_Q + q]);
            }
        }
    }

    if (SLICED) {
        for (var i = 0u; i < TILE_M * TILE_Q; i += 1u) {
            partial[slice * GROUP_X + local.x] = sums[i];
            workgroupBarrier();
            for (var other = 1u; other < SLICES; other += 1u) {
                sums[i] = select(sums[i], sums[i] + partial[other * GROUP_X + local.x], slice == 0u);
            }
            workgroupBarrier();
        }
    }
    for (var i = 0u; i < TILE_M; i += 1u) {
        let row = first_row + i;
        for (var q = 0u; q < TILE_Q; q += 1u) {
            if (slice == 0u && row < params.m && first_quad + q < params.output_quads) {
                store_total(batch * params.m + row, first_quad + q, sums[i * TILE_Q + q]);
            }
        }
    }
}
