// Values: entries of a table of sixteen int8, TABLE_0 to TABLE_3, as f32 bits. The code is the index.
//# needs f32_from_i32: math/float_bits
//# constants TABLE_0, TABLE_1, TABLE_2, TABLE_3

fn code_value(code: i32) -> u32 {
    let place = bitcast<u32>(code) & 15u;
    let low = select(TABLE_0, TABLE_1, place >= 4u);
    let high = select(TABLE_2, TABLE_3, place >= 12u);
    let word = select(low, high, place >= 8u);
    return f32_from_i32(bitcast<i32>(word << (24u - 8u * (place & 3u))) >> 24u);
}
