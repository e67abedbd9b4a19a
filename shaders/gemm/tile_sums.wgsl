// The sums of a tile (TILE_Q quads of TILE_M rows) and the sums of its rows of lhs.
//
// They are module variables, because some drivers keep arrays in memory if the counters of nested loops index them.
//# import gemm/zero_point
//# params output_quads
//# needs has_row, lhs_row, output_row: conv/params, gemm/params
//# needs opaque_zero: math/linear_index
//# needs row_parameters: gemm/row_parameters_*
//# constants GROUP_X, LHS_ROWS, QUAD_STEP, ROW_ENTRIES, TILE_M, TILE_Q

var<private> sums: array<vec4<i32>, TILE_Q * TILE_M>;
var<private> lhs_sums: array<i32, TILE_M>;

// The first of an invocation's quads, which lie QUAD_STEP apart: 1 if they must be neighbours, otherwise GROUP_X, so that those of
// neighbouring invocations are.
fn owned_quad(block: u32, x: u32) -> u32 {
    return block * GROUP_X * TILE_Q + select(x, x * TILE_Q, QUAD_STEP == 1u);
}

// Rotates the sums: the next row of the quad comes first. After a quad's last row comes the first row of the next quad.
fn next_row() {
    for (var j = 1u; j < TILE_Q * TILE_M; j += 1u) {
        sums[j - 1u] = sums[j];
    }
    let first = lhs_sums[0];
    for (var j = 1u; j < TILE_M; j += 1u) {
        lhs_sums[j - 1u] = lhs_sums[j];
    }
    lhs_sums[TILE_M - 1u] = first;
}

// Stores the tile. gemm/params.wgsl or conv/params.wgsl defines its rows.
//
// The columns' constants are loaded once for all rows. Storing is long code. A loop that drivers can't unroll, and that always
// stores the first sums, is one copy of it. A loop over indices would be unrolled into many copies, or would index memory.
fn store_tile(first_row: u32, first_quad: u32, weight_batch: u32, groups: vec3<u32>) {
    var parameters = row_parameters(0u);
    for (var q = 0u; q < TILE_Q + opaque_zero(groups); q += 1u) {
        let quad = first_quad + q * QUAD_STEP;
        var columns = load_columns(0u, weight_batch, min(quad, params.output_quads - 1u));
        for (var i = 0u; i < TILE_M + opaque_zero(groups); i += 1u) {
            let row = first_row + i;
            if (has_row(row) && quad < params.output_quads) {
                if (LHS_ROWS) {
                    parameters = row_parameters(lhs_row(row));
                }
                if (ROW_ENTRIES) {
                    columns.entries = row_entries(output_row(row), quad);
                }
                store_products(output_row(row), quad, parameters, columns, sums[0], vec4<i32>(lhs_sums[0]));
            }
            next_row();
        }
    }
}
