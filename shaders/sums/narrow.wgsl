// 256 · high + low where that fits i32: the output stage of any other sum follows.

fn store_sums(row: u32, quad: u32, column: vec4<u32>, scale: u32, high: vec4<i32>, low: vec4<i32>) {
    store_output(row, quad, load_entries(column), scale, high * 256 + low);
}
