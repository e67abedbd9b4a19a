// Codes: 4-bit indices into a table of sixteen int8, TABLE_0 to TABLE_3.
//# import grouped/bit_planes
//# constants PACKED, TABLE_0, TABLE_1, TABLE_2, TABLE_3

const BITS: u32 = 4u;
const CODE_SHIFT: u32 = 0u;

fn table_value(place: u32) -> u32 {
    let low = select(TABLE_0, TABLE_1, (place & 4u) == 4u);
    let high = select(TABLE_2, TABLE_3, (place & 4u) == 4u);
    let word = select(low, high, (place & 8u) == 8u);
    return (word >> ((place & 3u) << 3u)) & 0xffu;
}

fn four_codes(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let places = plane4((*packed)[first + lane], half, piece);
    return table_value(places & 0xffu)
        | (table_value((places >> 8u) & 0xffu) << 8u)
        | (table_value((places >> 16u) & 0xffu) << 16u)
        | (table_value(places >> 24u) << 24u);
}
