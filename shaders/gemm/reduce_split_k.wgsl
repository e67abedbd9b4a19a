// Split-k: the sums of slices of k are added through workgroup memory.
//# needs opaque_zero: math/linear_index
//# needs lhs_sums, sums: gemm/tile_sums
//# constants GROUP_X, SLICES, TILE_M, TILE_Q, WEIGHT_ZERO_POINT

var<workgroup> partial: array<vec4<i32>, TILE_M * TILE_Q * SLICES * GROUP_X>;    // [sum][slice][column]
var<workgroup> partial_lhs: array<i32, TILE_M * SLICES>;                         // [row][slice]

// Gives the sums of a slice to the first slice of the same quads, which adds them to its own.
fn reduce_split_k(slice: u32, x: u32, groups: vec3<u32>) {
    for (var i = 0u; i < TILE_M * TILE_Q; i += 1u) {
        partial[(i * SLICES + slice) * GROUP_X + x] = sums[i];
    }
    if (WEIGHT_ZERO_POINT && x == 0u) {
        // All columns have the same sums of lhs.
        for (var i = 0u; i < TILE_M; i += 1u) {
            partial_lhs[i * SLICES + slice] = lhs_sums[i];
        }
    }
    workgroupBarrier();
    if (slice > 0u) {
        return;
    }
    for (var other = 1u; other < SLICES + opaque_zero(groups); other += 1u) {
        for (var i = 0u; i < TILE_M * TILE_Q; i += 1u) {
            sums[i] += partial[(i * SLICES + other) * GROUP_X + x];
        }
        if (WEIGHT_ZERO_POINT) {
            for (var i = 0u; i < TILE_M; i += 1u) {
                lhs_sums[i] += partial_lhs[i * SLICES + other];
            }
        }
    }
}
