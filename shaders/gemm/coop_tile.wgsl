// A block of products of cooperative matrices, through workgroup memory:
//
//                  32 columns   32 columns       Each of the first GROUP_Y subgroups owns TILE_M rows by 32 columns as
//                 +------------+------------+    matrices of SIZE. GROUP_X is the largest size of a subgroup, so there are
//        TILE_M   | subgroup 0 | subgroup 1 |    at least GROUP_Y subgroups. Further ones only help to stage and to store.
//                 +------------+------------+
//
// Staged along k, 16 · STEP at a time: TILE_M rows of lhs, then BLOCK_N columns of weights, as f16, STRIDE elements apart
// (gemm/coop_staging_*.wgsl). The sums return through `products`, one row of matrices of every subgroup at a time. From there each invocation reads its quads, the same
// ones in every turn. Vulkan requires rows of matrices at multiples of 16 bytes, and all sizes in workgroup memory here are
// such multiples.
//# needs FOUR, Staged, stage_four: gemm/coop_staging_*
//# needs LhsMatrix, RhsMatrix, SIZE, SumMatrix: gemm/coop_size_*
//# constants GROUP_X, GROUP_Y, STEP, TILE_M

const THREADS: u32 = GROUP_X * GROUP_Y;
const BLOCK_N: u32 = GROUP_Y * 32u;
const STRIDE: u32 = (4u * STEP + 2u) * FOUR;                 // 2 fours: neighbouring rows lie in different banks
const ROWS: u32 = TILE_M / SIZE;                             // matrices of a subgroup
const COLUMNS: u32 = 32u / SIZE;
const TURN_QUADS: u32 = SIZE * 8u / GROUP_X;                 // quads of a row of matrices that an invocation owns
const QUADS: u32 = ROWS * TURN_QUADS;

var<workgroup> staged: array<Staged, (TILE_M + BLOCK_N) * STRIDE>;
var<workgroup> products: array<f32, GROUP_Y * SIZE * 32u>;

// Stages four codes of a row of lhs or, after those rows, of a column of weights.
fn stage_codes(row: u32, four: u32, codes: vec4<f16>) {
    stage_four(row * STRIDE + four * FOUR, codes);
}

// Adds the products of the staged codes. This and the following are functions, because naga requires these operations in control
// flow that is uniform for the whole workgroup, although a uniform subgroup is enough. It checks that within each function only.
fn add_staged(sums: ptr<function, array<SumMatrix, ROWS * COLUMNS>>, subgroup: u32) {
    for (var k = 0u; k < 16u * STEP; k += SIZE) {
        var row_matrices: array<LhsMatrix, ROWS>;
        for (var r = 0u; r < ROWS; r += 1u) {
            row_matrices[r] = coopLoadT<LhsMatrix>(&staged[r * SIZE * STRIDE + k / 4u * FOUR], STRIDE);
        }
        for (var c = 0u; c < COLUMNS; c += 1u) {
            let column = TILE_M + subgroup * 32u + c * SIZE;
            let column_matrix = coopLoad<RhsMatrix>(&staged[column * STRIDE + k / 4u * FOUR], STRIDE);
            for (var r = 0u; r < ROWS; r += 1u) {
                (*sums)[r * COLUMNS + c] = coopMultiplyAdd(row_matrices[r], column_matrix, (*sums)[r * COLUMNS + c]);
            }
        }
    }
}

// Stores a row of matrices in `products`.
fn store_turn(sums: ptr<function, array<SumMatrix, ROWS * COLUMNS>>, r: u32, subgroup: u32) {
    for (var c = 0u; c < COLUMNS; c += 1u) {
        coopStoreT((*sums)[r * COLUMNS + c], &products[subgroup * SIZE * 32u + c * SIZE], 32u);
    }
}

// One of the invocation's quads in `products`.
fn owned_products(turn_quad: u32, thread: u32) -> vec4<f32> {
    let at = 4u * (thread + turn_quad * THREADS);
    return vec4<f32>(products[at], products[at + 1u], products[at + 2u], products[at + 3u]);
}

// Row and quad in the block of the invocation's i-th quad.
fn owned_place(i: u32, thread: u32) -> vec2<u32> {
    let slot = thread + i % TURN_QUADS * THREADS;
    let inside = slot % (SIZE * 8u);
    return vec2<u32>(i / TURN_QUADS * SIZE + inside / 8u, slot / (SIZE * 8u) * 8u + inside % 8u);
}
