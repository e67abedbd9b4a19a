// Codes that are places in a table of numbers, as float32, four at a time.
//# import grouped/table_number

fn code_values(word: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(table_numbers(unpack4xU8(word)));
}
