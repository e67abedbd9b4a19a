// out[b, r, c] = stage( Σ_k (lhs[r, k] - z[r]) · (weight[k, c] - v[c]) )     integer matmul from registers
//
//            columns ->  | quad 0 | quad 1 |        One invocation owns TILE_M rows and TILE_Q quads (four columns
//     rows               +--------+--------+        each) and reads lhs and weight straight from storage: no workgroup
//       |   TILE_M = 4   | 16 i32 | 16 i32 |        memory, no barrier. Neighbouring invocations own neighbouring
//       v                +--------+--------+        quads of the same rows. GROUP_X x GROUP_Y of them form a workgroup.
//
// Meaning: reference/matmul.rs. Candidates: kernels/matmul.rs. Parameters: params/matmul.wgsl.

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

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
    let column_tile = tile % params.tiles_n;
    let rest = tile / params.tiles_n;
    let batch = rest / params.tiles_m;
    let first_row = ((rest % params.tiles_m) * GROUP_Y + local.y) * TILE_M;
    let first_quad = (column_tile * GROUP_X + local.x) * TILE_Q;
    if (first_row >= params.m || first_quad >= params.output_quads) {
        return;
    }
    let matrices = tables[params.batches_at + batch].xy;
    let lhs_batch = matrices.x;
    let weight_batch = matrices.y;

    // Tiles that stick out read the last row or quad again; what they compute there is never stored.
    var lhs_row: array<u32, TILE_M>;
    for (var i = 0u; i < TILE_M; i += 1u) {
        lhs_row[i] = (lhs_batch * params.m + min(first_row + i, params.m - 1u)) * params.k_vecs;
    }
    var column: array<u32, TILE_Q>;
    for (var q = 0u; q < TILE_Q; q += 1u) {
        column[q] = min((first_quad + q) * 4u, params.weight_stride - 4u);
    }

    var sums: array<vec4<i32>, TILE_M * TILE_Q>;
    var lhs_sums: array<i32, TILE_M>;
    for (var k = 0u; k < params.k_vecs; k += 1u) {
        let k_row = weight_batch * params.k_vecs + k;
        var codes: array<vec4<u32>, TILE_M>;
        for (var i = 0u; i < TILE_M; i += 1u) {
            codes[i] = lhs[lhs_row[i] + k] ^ vec4<u32>(LHS_FLIP);
        }
        if (WEIGHT_ZERO_POINT) {
            let ones = select(ALL_ONES, params.tail, k + 1u == params.k_vecs);
            for (var i = 0u; i < TILE_M; i += 1u) {
                lhs_sums[i] += dot16(codes[i], ones);
            }
        }
        for (var q = 0u; q < TILE_Q; q += 1u) {
            let w0 = load_weight(k_row, column[q]);
            let w1 = load_weight(k_row, column[q] + 1u);
            let w2 = load_weight(k_row, column[q] + 2u);
            let w3 = load_weight(k_row, column[q] + 3u);
            for (var i = 0u; i < TILE_M; i += 1u) {
                sums[i * TILE_Q + q] += vec4<i32>(
                    dot16(codes[i], w0), dot16(codes[i], w1), dot16(codes[i], w2), dot16(codes[i], w3),
                );
            }
        }
    }

    for (var i = 0u; i < TILE_M; i += 1u) {
        let row = first_row + i;
        for (var q = 0u; q < TILE_Q; q += 1u) {
            let quad = first_quad + q;
            if (row < params.m && quad < params.output_quads) {
                store_products(
                    lhs_batch * params.m + row, params.first_row + batch * params.m + row, weight_batch, quad,
                    sums[i * TILE_Q + q], vec4<i32>(lhs_sums[i]),
                );
            }
        }
    }
}
