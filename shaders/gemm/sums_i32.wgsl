// 256 · high + low as i32, stored by the output stage of i32 sums.
//# needs load_entries: epilogue/entries
//# needs store_output: epilogue/accumulator, epilogue/real_f16, epilogue/real_f32, epilogue/requantize

fn store_sums(row: u32, quad: u32, column: vec4<u32>, scale: u32, high: vec4<i32>, low: vec4<i32>) {
    store_output(row, quad, load_entries(column), scale, high * 256 + low);
}
