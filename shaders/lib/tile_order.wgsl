// Which tile of a product a workgroup owns, of tiles_m along the rows by tiles_n along the columns of each matrix: (row, column,
// matrix).
//
// Weights that stay in a cache are gone through for each row of tiles, larger ones once: then neighbours own the same columns.
// Twin: kernels/tile.rs.

fn tile_place(tile: u32) -> vec3<u32> {
    let matrix_tiles = params.tiles_m * params.tiles_n;
    let own = tile % matrix_tiles;
    let by_columns = vec2<u32>(own / params.tiles_n, own % params.tiles_n);
    let by_rows = vec2<u32>(own % params.tiles_m, own / params.tiles_m);
    return vec3<u32>(select(by_columns, by_rows, params.rows_first == 1u), tile / matrix_tiles);
}
