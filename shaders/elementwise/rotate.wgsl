// An element of a row of floats after its pair is rotated by the angle of its token's position:
//   a cos − b sin or a sin + b cos     for the first or second of the pair (a, b)
//
// Meaning: reference/rotary.rs.
//# import elementwise/rotated_pair
//# params half, n, token_rows

@group(0) @binding(2) var<storage, read> rows: array<f32>;
@group(0) @binding(4) var<storage, read> table: array<f32>;

fn rotated(row: u32, column: u32) -> f32 {
    let index = row * params.n + column;
    let mine = rows[index];
    if (column >= 2u * params.half) {
        return mine;
    }
    let element = rotated_element(index, column, row / params.token_rows);
    let other = rows[element.partner];
    let cosine = table[element.cosine];
    let sine = table[element.cosine + params.half];
    return mine * cosine + select(-other, other, element.is_second) * sine;
}
