// Codes: 4-bit places in a table of sixteen int8, TABLE_0 to TABLE_3.

const BITS: u32 = 4u;
const CODE_SHIFT: u32 = 0u;

fn table_values(places: vec4<u32>) -> vec4<u32> {
    let low = select(vec4<u32>(TABLE_0), vec4<u32>(TABLE_1), (places & vec4<u32>(4u)) == vec4<u32>(4u));
    let high = select(vec4<u32>(TABLE_2), vec4<u32>(TABLE_3), (places & vec4<u32>(4u)) == vec4<u32>(4u));
    let words = select(low, high, (places & vec4<u32>(8u)) == vec4<u32>(8u));
    return (words >> ((places & vec4<u32>(3u)) << vec4<u32>(3u))) & vec4<u32>(0xffu);
}

fn sixteen(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32) -> vec4<u32> {
    let places = plane4((*packed)[first + lane], half);
    return table_values(places & vec4<u32>(0xffu))
        | (table_values((places >> vec4<u32>(8u)) & vec4<u32>(0xffu)) << vec4<u32>(8u))
        | (table_values((places >> vec4<u32>(16u)) & vec4<u32>(0xffu)) << vec4<u32>(16u))
        | (table_values(places >> vec4<u32>(24u)) << vec4<u32>(24u));
}
