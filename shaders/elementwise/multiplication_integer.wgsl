// Multiplication: the product of two codes is an exact integer, which the output stage rescales.
//# needs load_entries: epilogue/code, epilogue/entries
//# needs store_output: epilogue/accumulator, epilogue/code, epilogue/real_f16, epilogue/real_f32, epilogue/requantize

fn store_product(row: u32, quad: u32, a: vec4<i32>, b: vec4<i32>) {
    store_output(row, quad, load_entries(vec4<u32>(0u)), 0u, a * b);
}
