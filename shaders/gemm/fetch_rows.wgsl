// The rows of lhs that a tile reads along k. The loop says where a row begins (`row_place`) and what is at a place (`load_row`),
// gemm/row_source_*.wgsl who reads it.
//# needs Row: conv/conv, gemm/float_matmul, gemm/matmul, grouped/lhs_float, grouped/lhs_int8
//# needs load_row: gemm/matmul, grouped/lhs_float16, grouped/lhs_float32, grouped/lhs_int8
//# needs READS, owned_row, share: gemm/row_source_*
//# needs row_place: gemm/float_matmul, gemm/matmul, grouped/linear
//# constants TILE_M

// Where the rows that this invocation reads begin.
fn row_places(first_row: u32) -> array<u32, READS> {
    var places: array<u32, READS>;
    for (var i = 0u; i < READS; i += 1u) {
        places[i] = row_place(first_row + owned_row(i));
    }
    return places;
}

// What all rows of the tile have at an offset from there.
fn fetch(places: ptr<function, array<u32, READS>>, offset: u32) -> array<Row, TILE_M> {
    var read: array<Row, READS>;
    for (var i = 0u; i < READS; i += 1u) {
        read[i] = load_row((*places)[i] + offset);
    }
    return share(&read);
}
