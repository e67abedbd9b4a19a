// Values: numbers of a table, as f32 bits. The code is the place.
//# import grouped/table_number
//# constants LOWER, UPPER

fn code_value(code: i32) -> u32 {
    return table_numbers(vec4<u32>(bitcast<u32>(code) & ((1u << (UPPER + LOWER)) - 1u))).x;
}
