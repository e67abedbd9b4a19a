// An element of a row among those that are rotated: its partner, and the entry of its pair in the table of angles.
//
// Row p of the table has the cosines of position p, then its sines. A token has token_rows rows of n elements, of which the first
// 2 · half are rotated.
//# import elementwise/token_position
//# params half, n, positions, token_rows
//# constants INTERLEAVED

struct RotatedElement {
    partner: u32,             // index of the other number of the pair
    cosine: u32,              // index of the cosine in the table; the sine is `half` further
    is_second: bool,          // true for b of the pair (a, b)
}

fn rotated_element(row: u32, column: u32) -> RotatedElement {
    let index = row * params.n + column;
    let is_second = select(column >= params.half, column % 2u == 1u, INTERLEAVED);
    let pair = select(column % params.half, column / 2u, INTERLEAVED);
    let distance = select(params.half, 1u, INTERLEAVED);
    // The bounds come first, so that the sum stays in i32.
    let token = i32(row / params.token_rows);
    let at = clamp(clamp(position[0], -token, params.positions) + token, 0, params.positions - 1);
    return RotatedElement(select(index + distance, index - distance, is_second), u32(at) * 2u * params.half + pair, is_second);
}
