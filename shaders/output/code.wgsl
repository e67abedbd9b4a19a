// Output stage: the 8-bit code itself. Nothing is rescaled.

fn store_output(row: u32, quad: u32, column: vec4<u32>, scale: u32, accumulator: vec4<i32>) {
    store_codes(row, quad, accumulator);
}
