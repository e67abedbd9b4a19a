// Output stage: real numbers (epilogue/real_value.wgsl) as f32, in dense rows.
//# import epilogue/real_value
//# import epilogue/entries
//# params n, output_words

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_output(row: u32, quad: u32, entries: Entries, scale: u32, accumulator: vec4<i32>) {
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let index = quad * 4u + lane;
        if (index < params.n) {
            output[row * params.output_words + index] = real_value(accumulator[lane], scale, entries[lane]);
        }
    }
}
