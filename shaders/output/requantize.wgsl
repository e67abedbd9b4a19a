// Output stage: 8-bit code = clamp(rescale(acc + bias) + zero_point), four per word, zero beyond the row's last column.
// `rescale` comes from the rounding part.

@group(0) @binding(5) var<storage, read> columns: array<vec4<i32>>;         // bias, multiplier, shift, -
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_output(row: u32, quad: u32, column: vec4<u32>, scale: u32, accumulator: vec4<i32>) {
    var word = 0u;
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (quad * 4u + lane < params.n) {
            let entry = columns[column[lane]];
            let steps = rescale(accumulator[lane] + entry.x, bitcast<u32>(entry.y), entry.z);
            let low = bitcast<i32>(params.low) - params.zero_point;
            let high = bitcast<i32>(params.high) - params.zero_point;
            let code = clamp(steps, low, high) + params.zero_point;
            word |= (bitcast<u32>(code) & 0xffu) << (8u * lane);
        }
    }
    output[row * params.output_words + quad] = word;
}
