// Output stage of 64-bit sums: real numbers (epilogue/wide_real_value.wgsl) rounded to f16, two per word, zero beyond the row's
// last column.
//# import epilogue/wide_real_value
//# import math/float16_bits
//# params n, output_words

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_sums(row: u32, quad: u32, column: vec4<u32>, scale: u32, high: vec4<i32>, low: vec4<i32>) {
    var values = vec4<u32>(0u);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (quad * 4u + lane < params.n) {
            let entry = stage_entry(column[lane]);
            values[lane] = f16_from_f32(wide_real_value(high[lane], low[lane], scale, entry));
        }
    }
    let at = row * params.output_words + quad * 2u;
    output[at] = values.x | (values.y << 16u);
    output[at + 1u] = values.z | (values.w << 16u);
}
