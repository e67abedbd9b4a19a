// Scale (f32 bits) and zero point of a row of lhs, known when the graph is planned.
//# import epilogue/tables
//# params rows, rows_at

fn row_parameters(row: u32) -> vec2<u32> {
    return tables[params.rows_at + row % params.rows].xy;
}
