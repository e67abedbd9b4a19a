// An element of a row of floats after its pair is rotated by the angle of its token's position:
//   a cos − b sin or a sin + b cos     for the first or second of the pair (a, b)
//
// Row p of the table has the cosines of position p, then its sines. A token has token_rows rows of n elements, of which the first
// 2 · half are rotated.
//
// Meaning: reference/rotary.rs.
//# import elementwise/token_position
//# params half, n, positions, token_rows
//# constants INTERLEAVED

@group(0) @binding(2) var<storage, read> rows: array<f32>;
@group(0) @binding(4) var<storage, read> table: array<f32>;

fn rotated(row: u32, column: u32) -> f32 {
    let index = row * params.n + column;
    let mine = rows[index];
    if (column >= 2u * params.half) {
        return mine;
    }
    let is_second = select(column >= params.half, column % 2u == 1u, INTERLEAVED);
    let pair = select(column % params.half, column / 2u, INTERLEAVED);
    let distance = select(params.half, 1u, INTERLEAVED);
    let other = rows[select(index + distance, index - distance, is_second)];
    // The bounds come first, so that the sum stays in i32.
    let token = i32(row / params.token_rows);
    let at = clamp(clamp(position[0], -token, params.positions) + token, 0, params.positions - 1);
    let entry = u32(at) * 2u * params.half + pair;
    let cosine = table[entry];
    let sine = table[entry + params.half];
    return mine * cosine + select(-other, other, is_second) * sine;
}
