// Which tile of a product a workgroup owns, of tiles_m along the rows by tiles_n along the columns: (row, column).
//
// Weights that stay in a cache are gone through for each row of tiles, larger ones once: then neighbours own the same columns.
// Twin: kernels/tile.rs.

fn tile_place(tile: u32) -> vec2<u32> {
    let by_columns = vec2<u32>(tile / params.tiles_n, tile % params.tiles_n);
    let by_rows = vec2<u32>(tile % params.tiles_m, tile / params.tiles_m);
    return select(by_columns, by_rows, params.rows_first == 1u);
}
