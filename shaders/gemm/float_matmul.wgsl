// out[b, r, c] = clamp( Σ_k lhs[r, k] · rhs[k, c] + bias[c] )     f32 matmul from registers
//
//            columns ->  | quad 0 | quad 1 |     One invocation owns TILE_M rows and TILE_Q quads (four columns each). It
//     rows               +--------+--------+     reads four floats of each row along k and four rows of each quad straight
//       |   TILE_M = 4   | 16 sums| 16 sums|     from storage. Only split-k uses workgroup memory.
//       v                +--------+--------+
//
// GROUP_X neighbours own neighbouring quads. The GROUP_Y invocations along y own further rows or, if SLICED (gemm/split_k.wgsl),
// slices of k, whose totals are added in order. If STEPS is 2, a turn of the loop takes two steps of a single quad, and reads rhs of
// both first: more bytes are on their way at once.
//
// Meaning: reference/float_matmul.rs. Candidates: kernels/gemm/float_matmul.rs. Parameters: gemm/float_params.wgsl.
//# import gemm/tile_order
//# import gemm/float_params
//# import math/linear_index
//# import gemm/fetch_rows
//# import gemm/reduce_split_k_floats
//# needs SLICED, slice_of: gemm/split_k, gemm/split_k_none
//# constants GROUP_X, GROUP_Y, STEPS, TILE_M, TILE_Q

// Loops are unrolled by hand, and sums are module variables, as in gemm/register_tile.wgsl and gemm/tile_sums.wgsl.

alias Row = vec4<f32>;

var<private> sums: array<vec4<f32>, TILE_M * TILE_Q>;
var<private> lhs_matrix: u32;

// Tiles that overlap the edge read the last row or quad again and do not store its results.
fn row_place(row: u32) -> u32 {
    return (lhs_matrix * params.m + min(row, params.m - 1u)) * params.lhs_stride;
}

// Four rows of a quad.
fn read_quad(k: u32, place: vec2<u32>) -> mat4x4<f32> {
    let at = place.x + k * 4u * place.y;
    return mat4x4<f32>(rhs[at], rhs[at + place.y], rhs[at + place.y * 2u], rhs[at + place.y * 3u]);
}

fn add_quad(x: ptr<function, array<Row, TILE_M>>, q: u32, w: mat4x4<f32>) {
    for (var i = 0u; i < TILE_M; i += 1u) {
        sums[i * TILE_Q + q] = sixteen_products((*x)[i], w[0], w[1], w[2], w[3], sums[i * TILE_Q + q]);
    }
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
    let slice = slice_of(local.y);
    let row_lane = select(local.y, 0u, SLICED);
    let own = tile_place(tile);
    let first_row = (own.x * select(GROUP_Y, 1u, SLICED) + row_lane) * TILE_M;
    let first_quad = own.y * GROUP_X * TILE_Q + local.x;
    let matrices = operand_rows(own.z, groups);

    lhs_matrix = matrices.x;
    let begin = min(slice * params.slice_vecs, params.k_vecs);
    let end = min(begin + params.slice_vecs, params.k_vecs) + opaque_zero(groups);
    let quad = quad_place(matrices.y, first_quad);
    let next_quad = quad_place(matrices.y, first_quad + GROUP_X);
    var places = row_places(first_row);
    var k = begin;
    if (STEPS == 2u) {
        for (; k + 1u < end; k += 2u) {
            let first = read_quad(k, quad);
            let second = read_quad(k + 1u, quad);
            var x = fetch_rows(&places, k);
            add_quad(&x, 0u, first);
            x = fetch_rows(&places, k + 1u);
            add_quad(&x, 0u, second);
        }
    }
    for (; k < end; k += 1u) {
        var x = fetch_rows(&places, k);
        add_quad(&x, 0u, read_quad(k, quad));
        if (TILE_Q > 1u) {
            add_quad(&x, 1u, read_quad(k, next_quad));
        }
    }

    if (SLICED) {
        reduce_slices(&sums, slice, local.x);
    }
    for (var i = 0u; i < TILE_M; i += 1u) {
        let row = first_row + i;
        for (var q = 0u; q < TILE_Q; q += 1u) {
            let quad = first_quad + q * GROUP_X;
            if (slice == 0u && row < params.m && quad < params.output_quads) {
                store_total(own.z * params.m + row, quad, sums[i * TILE_Q + q]);
            }
        }
    }
}
