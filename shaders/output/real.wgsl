// Output stage: f32 = clamp(f32(acc + bias) · (scale_row · scale_column) + real_bias), in dense rows.
// Entry: bias, scale (f32 bits), -, real bias (f32 bits). The product of the scales is at most the largest f32. Each operation is one
// correctly rounded f32 operation, done in integers: the same bits on every device.

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_output(row: u32, quad: u32, column: vec4<u32>, scale: u32, accumulator: vec4<i32>) {
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let index = quad * 4u + lane;
        if (index < params.n) {
            let entry = stage_entry(column[lane]);
            let multiplier = min(f32_multiply(scale, bitcast<u32>(entry.y)), F32_GREATEST);
            var value = f32_multiply(f32_from_i32(accumulator[lane] + entry.x), multiplier);
            if (REAL_BIAS) {
                value = f32_add(value, bitcast<u32>(entry.w));
            }
            let key = clamp(f32_order(value), params.low, params.high);
            output[row * params.output_words + index] = f32_from_order(key);
        }
    }
}
