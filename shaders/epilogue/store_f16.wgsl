// Output: f16, two per word, zero beyond the row's last column.
//# import math/float16
//# params n, output_words

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn store_reals(row: u32, column: u32, values: vec4<f32>) {
    let inside = vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.n);
    let kept = select(vec4<f32>(0.0), values, inside);
    let at = row * params.output_words + column / 2u;
    output[at] = f16_from_f32(kept.x) | (f16_from_f32(kept.y) << 16u);
    output[at + 1u] = f16_from_f32(kept.z) | (f16_from_f32(kept.w) << 16u);
}
