// Output stage: real numbers (epilogue/real_value.wgsl) rounded to f16, two per word, zero beyond the row's last column.
//# import epilogue/real_value
//# import math/float16_bits
//# import epilogue/entries
//# params n, output_words

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_output(row: u32, quad: u32, entries: Entries, scale: u32, accumulator: vec4<i32>) {
    var values = vec4<u32>(0u);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (quad * 4u + lane < params.n) {
            values[lane] = f16_from_f32(real_value(accumulator[lane], scale, entries[lane]));
        }
    }
    let at = row * params.output_words + quad * 2u;
    output[at] = values.x | (values.y << 16u);
    output[at + 1u] = values.z | (values.w << 16u);
}
