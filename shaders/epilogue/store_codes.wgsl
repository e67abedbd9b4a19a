// Stores a quad of 8-bit codes, four per word, zero beyond the row's last column. `post_op` is in epilogue/post_op_*.wgsl.
//# params n, output_words
//# needs post_op: epilogue/post_*

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_codes(row: u32, quad: u32, codes: vec4<i32>) {
    let at = row * params.output_words + quad;
    let finished = bitcast<vec4<u32>>(post_op(codes, at)) & vec4<u32>(0xffu);
    let lane = quad * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    let bytes = select(vec4<u32>(0u), finished, lane < vec4<u32>(params.n));
    output[at] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
