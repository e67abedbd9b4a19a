// out[b, r, c] = stage( Σ_k (lhs[r, k] - z[r]) · (weight[k, c] - v[c]) )     integer matmul from registers
//
//            columns ->  | quad 0 | quad 1 |        One invocation owns TILE_M rows and TILE_Q quads (four columns
//     rows               +--------+--------+        each) and reads lhs and weight straight from storage: no workgroup
//       |   TILE_M = 4   | 16 i32 | 16 i32 |        memory, no barrier. Neighbouring invocations own neighbouring
//       v                +--------+--------+        quads of the same rows. GROUP_X x GROUP_Y of them form a workgroup.
//
// Meaning: reference/matmul.rs. Candidates: kernels/matmul.rs. Parameters: params/matmul.wgsl.

// Loops over words and quads are written out and sums are module variables: some drivers leave nested loops as they are, and
// arrays that are indexed by their counters in memory.

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

alias Row = vec4<u32>;

var<private> sums: array<vec4<i32>, TILE_M * TILE_Q>;
var<private> lhs_sums: array<i32, TILE_M>;
var<private> lhs_batch: u32;

fn load_row(at: u32) -> Row {
    return lhs[at] ^ vec4<u32>(LHS_FLIP);
}

// Tiles that stick out read the last row or quad again; what they compute there is never stored.
fn row_place(row: u32) -> u32 {
    return (lhs_batch * params.m + min(row, params.m - 1u)) * params.k_vecs;
}

// Adds the products of four codes of each row and of four columns.
fn add_word(codes: ptr<function, array<Row, TILE_M>>, word: u32, q: u32, w: vec4<u32>) {
    for (var i = 0u; i < TILE_M; i += 1u) {
        let x = (*codes)[i][word];
        sums[i * TILE_Q + q] += vec4<i32>(
            dot4I8Packed(x, w.x), dot4I8Packed(x, w.y), dot4I8Packed(x, w.z), dot4I8Packed(x, w.w),
        );
    }
}

fn add_quad(codes: ptr<function, array<Row, TILE_M>>, q: u32, k_row: u32, column: u32) {
    let w0 = load_weight(k_row, column);
    let w1 = load_weight(k_row, column + 1u);
    let w2 = load_weight(k_row, column + 2u);
    let w3 = load_weight(k_row, column + 3u);
    add_word(codes, 0u, q, vec4<u32>(w0.x, w1.x, w2.x, w3.x));
    add_word(codes, 1u, q, vec4<u32>(w0.y, w1.y, w2.y, w3.y));
    add_word(codes, 2u, q, vec4<u32>(w0.z, w1.z, w2.z, w3.z));
    add_word(codes, 3u, q, vec4<u32>(w0.w, w1.w, w2.w, w3.w));
}

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
    let matrices = tables[params.batches_at + batch].xy;
    lhs_batch = matrices.x;
    let weight_batch = matrices.y;

    let column = min(first_quad * 4u, params.weight_stride - 4u);
    let next_column = min(first_quad * 4u + 4u, params.weight_stride - 4u);
    var places = places_from(first_row);
    for (var k = 0u; k < params.k_vecs; k += 1u) {
        let k_row = weight_batch * params.k_vecs + k;
        var codes = fetch(&places, k);
        if (WEIGHT_ZERO_POINT) {
            for (var i = 0u; i < TILE_M; i += 1u) {
                lhs_sums[i] += dot16(codes[i], ALL_ONES);
            }
        }
        add_quad(&codes, 0u, k_row, column);
        if (TILE_Q > 1u) {
            add_quad(&codes, 1u, k_row, next_column);
        }
    }
    if (WEIGHT_ZERO_POINT && params.k_vecs > 0u) {
        // What lies beyond k meets weights of 0, but has been summed.
        var codes = fetch(&places, params.k_vecs - 1u);
        for (var i = 0u; i < TILE_M; i += 1u) {
            lhs_sums[i] -= dot16(codes[i], ALL_ONES - params.tail);
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
