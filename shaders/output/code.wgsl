// Output stage: the 8-bit code itself, four per word, zero beyond the row's last column. Nothing is rescaled.

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_output(row: u32, quad: u32, column: vec4<u32>, scale: u32, accumulator: vec4<i32>) {
    var word = 0u;
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (quad * 4u + lane < params.n) {
            word |= (bitcast<u32>(accumulator[lane]) & 0xffu) << (8u * lane);
        }
    }
    output[row * params.output_words + quad] = word;
}
