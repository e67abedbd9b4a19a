// Stores a quad of 16-bit codes, two per word, zero beyond the row's last column. 16-bit codes have no post-op.
//# params n, output_words

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_codes(row: u32, quad: u32, codes: vec4<i32>) {
    let at = row * params.output_words + quad * 2u;
    let lane = quad * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    let kept = select(vec4<u32>(0u), bitcast<vec4<u32>>(codes) & vec4<u32>(0xffffu), lane < vec4<u32>(params.n));
    output[at] = kept.x | (kept.y << 16u);
    output[at + 1u] = kept.z | (kept.w << 16u);
}
