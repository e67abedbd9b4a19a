// An element that is appended: as it is.
//# params n

@group(0) @binding(2) var<storage, read> rows: array<f32>;

fn appended_value(row: u32, column: u32) -> f32 {
    return rows[row * params.n + column];
}
