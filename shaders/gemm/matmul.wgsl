// out[b, r, c] = stage( Σ_k (lhs[r, k] - z[r]) · (weight[k, c] - v[c]) )     integer matmul from registers
//
//            columns ->  | quad 0 | quad 1 |        One invocation owns TILE_M rows and TILE_Q quads (four columns
//     rows               +--------+--------+        each) and reads lhs and weight straight from storage. Only split-k
//       |   TILE_M = 4   | 16 i32 | 16 i32 |        uses workgroup memory. GROUP_X neighbours own neighbouring quads of
//       v                +--------+--------+        the same rows; the second quads follow those of all.
//
// The GROUP_Y invocations along y own further rows or, if SLICED (gemm/split_k.wgsl), slices of k. gemm/reduce_split_k.wgsl adds
// the sums of slices. If STEPS is 2 or 4, a turn of the loop takes so many
// steps of a single quad, and reads the weights of all of them first: more bytes are on their way at once.
//
// Meaning: reference/matmul.rs. Candidates: kernels/gemm/matmul.rs. Parameters: gemm/params.wgsl.
//# import gemm/tile_order
//# import gemm/params
//# import math/linear_index
//# import gemm/fetch_rows
//# import gemm/register_tile
//# import gemm/dot
//# import epilogue/tables
//# needs SLICED, is_idle, slice_of: gemm/split_k, gemm/split_k_none
//# needs reduce_split_k: gemm/reduce_split_k, gemm/reduce_split_k_none
//# needs READS, may_exit: gemm/row_source_*
//# constants GROUP_X, GROUP_Y, LHS_FLIP, QUAD_STEP, STEPS, TILE_M, TILE_Q, WEIGHT_ZERO_POINT

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

alias Row = vec4<u32>;

fn load_row(at: u32) -> Row {
    return lhs[at] ^ vec4<u32>(LHS_FLIP);
}

// Tiles that overlap the edge read the last row or quad again and do not store its results.
fn row_place(row: u32) -> u32 {
    return lhs_row(min(row, params.m - 1u)) * params.k_vecs;
}

// Adds the products of a step, sixteen along k, with the first quad.
fn add_step(places: ptr<function, array<u32, READS>>, k: u32, packed: PackedQuad) {
    var codes = fetch_step(places, k);
    add_quad(&codes, 0u, packed);
}

// Codes of all rows at a step, counted to their sums.
fn fetch_step(places: ptr<function, array<u32, READS>>, k: u32) -> array<Row, TILE_M> {
    let codes = fetch_rows(places, k);
    if (WEIGHT_ZERO_POINT) {
        for (var i = 0u; i < TILE_M; i += 1u) {
            lhs_sums[i] += dot16(codes[i], ALL_ONES);
        }
    }
    return codes;
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
    let own = tile_place(tile);
    let slice = slice_of(local.y);
    let first_row = (own.x * select(GROUP_Y, 1u, SLICED) + select(local.y, 0u, SLICED)) * TILE_M;
    let first_quad = owned_quad(own.y, local.x);
    if (may_exit(is_idle(first_row >= params.m || first_quad >= params.output_quads))) {
        return;
    }
    let weight_batch = enter_batch(own.z, groups);

    let place = weight_place(first_quad);
    let next_place = weight_place(first_quad + QUAD_STEP);
    var places = row_places(first_row);
    let begin = min(slice * params.slice_vecs, params.k_vecs);
    let end = min(begin + params.slice_vecs, params.k_vecs) + opaque_zero(groups);
    let first_k = weight_batch * params.k_vecs;
    var k = begin;
    if (STEPS == 2u) {
        for (; k + 1u < end; k += 2u) {
            let first = read_quad(first_k + k, place);
            let second = read_quad(first_k + k + 1u, place);
            add_step(&places, k, first);
            add_step(&places, k + 1u, second);
        }
    }
    if (STEPS == 4u) {
        for (; k + 3u < end; k += 4u) {
            let first = read_quad(first_k + k, place);
            let second = read_quad(first_k + k + 1u, place);
            let third = read_quad(first_k + k + 2u, place);
            let fourth = read_quad(first_k + k + 3u, place);
            add_step(&places, k, first);
            add_step(&places, k + 1u, second);
            add_step(&places, k + 2u, third);
            add_step(&places, k + 3u, fourth);
        }
    }
    for (; k < end; k += 1u) {
        var codes = fetch_step(&places, k);
        add_quad(&codes, 0u, read_quad(first_k + k, place));
        if (TILE_Q > 1u) {
            add_quad(&codes, 1u, read_quad(first_k + k, next_place));
        }
    }
    if (SLICED) {
        reduce_split_k(slice, local.x);
        if (slice > 0u) {
            return;
        }
    }
    if (WEIGHT_ZERO_POINT && params.k_vecs + opaque_zero(groups) > 0u) {
        // Codes beyond k meet weights of 0, but they are in the sums of lhs.
        var codes = fetch_rows(&places, params.k_vecs - 1u);
        for (var i = 0u; i < TILE_M; i += 1u) {
            lhs_sums[i] -= dot16(codes[i], ALL_ONES - params.tail);
        }
    }

    store_tile(first_row, first_quad, weight_batch, groups);
}
