// saturate(round_ties_even((s_a a + s_b b) / s_out) + z_out) of codes whose zero points are taken away already: dequantize,
// add, quantize, each step one correctly rounded f32 operation done in integers.

// scales: f32 bits of s_a, s_b, s_out. bounds: z_out, least and greatest code.
fn add_codes(a: vec4<i32>, b: vec4<i32>, scales: vec3<u32>, bounds: vec3<i32>) -> vec4<i32> {
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let sum = f32_add(f32_multiple(a[lane], scales.x), f32_multiple(b[lane], scales.y));
        let steps = quotient_step(sum, scales.z);
        codes[lane] = clamp(steps, bounds.y - bounds.x, bounds.z - bounds.x) + bounds.x;
    }
    return codes;
}
