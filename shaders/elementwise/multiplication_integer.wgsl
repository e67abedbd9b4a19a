// Multiplication: the product of two codes is an exact integer. The output stage rescales it.
//# needs load_entries: epilogue/entries
//# needs store_output: epilogue/requantize

fn store_product(row: u32, quad: u32, a: vec4<i32>, b: vec4<i32>) {
    store_output(row, quad, load_entries(vec4<u32>(0u)), 0u, a * b);
}
