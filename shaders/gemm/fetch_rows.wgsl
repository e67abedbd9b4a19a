// The rows of lhs that a tile reads along k. The loop defines the begin of a row (`row_place`) and loads an element (`load_row`).
// gemm/row_source_*.wgsl distributes the reads over invocations.
//# needs READS, owned_row, tile_rows: gemm/row_source_*
//# needs Row: gemm/float_matmul, gemm/matmul, grouped/lhs_float, grouped/lhs_int8
//# needs load_row: gemm/matmul, grouped/lhs_float16, grouped/lhs_float32, grouped/lhs_int8
//# needs row_place: gemm/float_matmul, gemm/matmul, grouped/linear
//# constants TILE_M

// Begin of each row that this invocation reads.
fn row_places(first_row: u32) -> array<u32, READS> {
    var places: array<u32, READS>;
    for (var i = 0u; i < READS; i += 1u) {
        places[i] = row_place(first_row + owned_row(i));
    }
    return places;
}

// All rows of the tile at an offset from their begin.
fn fetch_rows(places: ptr<function, array<u32, READS>>, offset: u32) -> array<Row, TILE_M> {
    var read: array<Row, READS>;
    for (var i = 0u; i < READS; i += 1u) {
        read[i] = load_row((*places)[i] + offset);
    }
    return tile_rows(&read);
}
