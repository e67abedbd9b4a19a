// Output stage of 64-bit sums: real numbers (epilogue/wide_real_value.wgsl) as f32, in dense rows.
//# import epilogue/wide_real_value
//# params n, output_words

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_sums(row: u32, quad: u32, column: vec4<u32>, scale: u32, high: vec4<i32>, low: vec4<i32>) {
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let index = quad * 4u + lane;
        if (index < params.n) {
            let entry = stage_entry(column[lane]);
            output[row * params.output_words + index] = wide_real_value(high[lane], low[lane], scale, entry);
        }
    }
}
