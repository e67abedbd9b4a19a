// Split-k: the sums of slices of k are added through workgroup memory, as a tree: in each round the upper half of the slices gives
// its sums to the lower half. SLICES is a power of two.
//
//     slices  0   1   2   3   4   5   6   7
//             +4  +5  +6  +7                     one barrier a round; every slice but the first has its own place
//             +2  +3
//             +1
//# needs lhs_sums, sums: gemm/tile_sums
//# constants GROUP_X, SLICES, TILE_M, TILE_Q, WEIGHT_ZERO_POINT

var<workgroup> partial: array<vec4<i32>, TILE_M * TILE_Q * SLICES * GROUP_X>;    // [sum][slice][column]
var<workgroup> partial_lhs: array<i32, TILE_M * SLICES>;                         // [row][slice]

// Leaves the sums of all slices in the first one.
fn reduce_split_k(slice: u32, x: u32) {
    for (var half = SLICES / 2u; half > 0u; half /= 2u) {
        if (slice >= half && slice < 2u * half) {
            for (var i = 0u; i < TILE_M * TILE_Q; i += 1u) {
                partial[(i * SLICES + slice) * GROUP_X + x] = sums[i];
            }
            if (WEIGHT_ZERO_POINT && x == 0u) {
                // All columns have the same sums of lhs.
                for (var i = 0u; i < TILE_M; i += 1u) {
                    partial_lhs[i * SLICES + slice] = lhs_sums[i];
                }
            }
        }
        workgroupBarrier();
        if (slice < half) {
            for (var i = 0u; i < TILE_M * TILE_Q; i += 1u) {
                sums[i] += partial[(i * SLICES + slice + half) * GROUP_X + x];
            }
            if (WEIGHT_ZERO_POINT) {
                for (var i = 0u; i < TILE_M; i += 1u) {
                    lhs_sums[i] += partial_lhs[i * SLICES + slice + half];
                }
            }
        }
    }
}
