// The rows of lhs that a tile reads along k. The loop says where a row begins (`row_place`) and what is at a place (`load_row`),
// share/*.wgsl who reads it.

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
