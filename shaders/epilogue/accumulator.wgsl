// Output stage: the raw i32 accumulator plus its bias, in dense rows. Entry: bias, -, -, -.
//# import epilogue/entries
//# params n, output_words

@group(0) @binding(6) var<storage, read_write> output: array<i32>;

fn store_output(row: u32, quad: u32, entries: Entries, scale: u32, accumulator: vec4<i32>) {
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let index = quad * 4u + lane;
        if (index < params.n) {
            output[row * params.output_words + index] = accumulator[lane] + entries[lane].x;
        }
    }
}
