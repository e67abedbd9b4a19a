// Rows of lhs: an invocation reads all that it needs by itself.

alias Places = array<u32, TILE_M>;

fn places_from(first_row: u32) -> Places {
    var places: Places;
    for (var i = 0u; i < TILE_M; i += 1u) {
        places[i] = row_place(first_row + i);
    }
    return places;
}

fn fetch(places: ptr<function, Places>, offset: u32) -> array<Row, TILE_M> {
    var fetched: array<Row, TILE_M>;
    for (var i = 0u; i < TILE_M; i += 1u) {
        fetched[i] = load_row((*places)[i] + offset);
    }
    return fetched;
}
