// The f32 bits of an element that is appended: as it is.
//# params n

@group(0) @binding(2) var<storage, read> rows: array<u32>;

fn appended_bits(row: u32, column: u32) -> u32 {
    return rows[row * params.n + column];
}
