// Codes: places in a table of 4, 8 or 16 int8, TABLE_0 to TABLE_3, in planes of UPPER and LOWER bits. The table is in units of
// 2^-CODE_SHIFT, which the scale absorbs.
//# import grouped/bit_planes
//# constants LOWER, PACKED, TABLE_0, TABLE_1, TABLE_2, TABLE_3, UPPER

const BITS: u32 = UPPER + LOWER;

fn table_value(place: u32) -> u32 {
    if (BITS == 2u) {
        return (TABLE_0 >> (place << 3u)) & 0xffu;
    }
    let low = select(TABLE_0, TABLE_1, (place & 4u) == 4u);
    if (BITS == 3u) {
        return (low >> ((place & 3u) << 3u)) & 0xffu;
    }
    let high = select(TABLE_2, TABLE_3, (place & 4u) == 4u);
    let word = select(low, high, (place & 8u) == 8u);
    return (word >> ((place & 3u) << 3u)) & 0xffu;
}

fn four_codes(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let places = plane_codes(packed, first, lane, half, piece);
    return table_value(places & 0xffu)
        | (table_value((places >> 8u) & 0xffu) << 8u)
        | (table_value((places >> 16u) & 0xffu) << 16u)
        | (table_value(places >> 24u) << 24u);
}
