// The tile of a product that a workgroup owns: (row, column, matrix). Each matrix has tiles_m tiles along the rows by tiles_n along
// the columns.
//
// Weights that fit a cache are read once for each row of tiles. For larger weights `rows_first` is 1: neighbouring workgroups own
// the same columns, so weights are read once. Twin: kernels/gemm/tiling.rs.
//# params rows_first, tiles_m, tiles_n

fn tile_place(tile: u32) -> vec3<u32> {
    let matrix_tiles = params.tiles_m * params.tiles_n;
    let own = tile % matrix_tiles;
    let by_columns = vec2<u32>(own / params.tiles_n, own % params.tiles_n);
    let by_rows = vec2<u32>(own % params.tiles_m, own / params.tiles_m);
    return vec3<u32>(select(by_columns, by_rows, params.rows_first == 1u), tile / matrix_tiles);
}
