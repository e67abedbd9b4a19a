// The sums of a tile, TILE_Q quads of TILE_M rows, and those of the rows of lhs.
//
// Module variables, because some drivers keep arrays that are indexed by the counters of nested loops in memory.

var<private> sums: array<vec4<i32>, TILE_Q * TILE_M>;
var<private> lhs_sums: array<i32, TILE_M>;

// Brings the sums of the quad's next row to the front, after its last row those of the next quad's first.
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

// Stores the tile. Which rows there are and where they lie is the rows part's to say (lib/*_rows.wgsl).
//
// What columns are rescaled by is loaded once for all rows. Storing is long: a loop that drivers can't write out, over what is
// always first, is one copy of it, where one over all places would be as many as there are, or index memory.
fn store_tile(first_row: u32, first_quad: u32, weight_batch: u32, groups: vec3<u32>) {
    var parameters = row_parameters(0u);
    for (var q = 0u; q < TILE_Q + hidden_zero(groups); q += 1u) {
        let quad = first_quad + q;
        var columns = load_columns(0u, weight_batch, min(quad, params.output_quads - 1u));
        for (var i = 0u; i < TILE_M + hidden_zero(groups); i += 1u) {
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
