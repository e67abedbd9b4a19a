// Scale (f32 bits) and zero point of a row of lhs, computed on the device.
//# params rows

@group(0) @binding(3) var<storage, read> rows: array<vec2<u32>>;

fn row_parameters(row: u32) -> vec2<u32> {
    return rows[row % params.rows];
}
