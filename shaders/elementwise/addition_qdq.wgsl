// Addition: saturate(round_ties_even((s_a (a - z_a) + s_b (b - z_b)) / s_out) + z_out): dequantize, add, quantize. Each step is one
// correctly rounded f32 operation, done in integers. Twin: reference/binary.rs.
//# import math/nearest_step

// operands: s_a (f32 bits), z_a, s_b, z_b. result: s_out, z_out, least and greatest code.
fn add_codes(a: vec4<i32>, b: vec4<i32>, operands: vec4<u32>, result: vec4<u32>) -> vec4<i32> {
    let bounds = bitcast<vec4<i32>>(result);
    let x = a - bitcast<i32>(operands.y);
    let y = b - bitcast<i32>(operands.w);
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let sum = f32_add(f32_multiple(x[lane], operands.x), f32_multiple(y[lane], operands.z));
        let steps = quotient_step(sum, result.x);
        codes[lane] = clamp(steps, bounds.z - bounds.y, bounds.w - bounds.y) + bounds.y;
    }
    return codes;
}
