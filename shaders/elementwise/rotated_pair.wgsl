// An element of a row among those that are rotated: its partner, and the entry of its pair in the table of angles.
//
// Row p of the table has the cosines of position p, then its sines. The first 2 · half elements of a row are rotated.
//# import elementwise/token_position
//# params half, positions
//# constants INTERLEAVED

struct RotatedElement {
    partner: u32,             // index of the other number of the pair
    cosine: u32,              // index of the cosine in the table; the sine is `half` further
    is_second: bool,          // true for b of the pair (a, b)
}

// The element `index` of a tensor, in this column of a row of this token.
fn rotated_element(index: u32, column: u32, token: u32) -> RotatedElement {
    let is_second = select(column >= params.half, column % 2u == 1u, INTERLEAVED);
    let pair = select(column % params.half, column / 2u, INTERLEAVED);
    let distance = select(params.half, 1u, INTERLEAVED);
    // The bounds come first, so that the sum stays in i32.
    let own = i32(token);
    let at = clamp(clamp(position[0], -own, params.positions) + own, 0, params.positions - 1);
    return RotatedElement(select(index + distance, index - distance, is_second), u32(at) * 2u * params.half + pair, is_second);
}
