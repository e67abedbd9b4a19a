// The sums of a tile, TILE_M rows of TILE_Q quads, and those of the rows of lhs.
//
// Module variables, because some drivers keep arrays that are indexed by the counters of nested loops in memory.

var<private> sums: array<vec4<i32>, TILE_M * TILE_Q>;
var<private> lhs_sums: array<i32, TILE_M>;

// Brings the sums of the next quad to the front. Storing is long: a loop that drivers can't write out, over what is always
// first, is one copy of it, where one over all places would be as many as there are, or index memory.
fn next_quad(i: u32) {
    for (var j = 1u; j < TILE_M * TILE_Q; j += 1u) {
        sums[j - 1u] = sums[j];
    }
    if (i % TILE_Q == TILE_Q - 1u) {
        for (var j = 1u; j < TILE_M; j += 1u) {
            lhs_sums[j - 1u] = lhs_sums[j];
        }
    }
}
