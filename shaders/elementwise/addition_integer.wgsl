// Addition: saturate(rescale(rescale((a - z_a) 2^20, m_a) +- rescale((b - z_b) 2^20, m_b), m) + z_out), TFLite's ADD and SUB: both
// operands are rounded to a common scale, and their sum to the output's. Twin: reference/binary.rs.
//# needs rescale: epilogue/rounding_fixed_single, epilogue/rounding_fixed_double

// operands: m_a, m_b, z_a and z_b in 16 bits each, and a byte for each right shift, of a, b and the sum, and one that is 1 if b is
// subtracted. result: m, z_out, least and greatest code.
fn add_codes(a: vec4<i32>, b: vec4<i32>, operands: vec4<u32>, result: vec4<u32>) -> vec4<i32> {
    let bounds = bitcast<vec4<i32>>(result);
    let zero_points = bitcast<i32>(operands.z);
    let shifts = -vec3<i32>((vec3<u32>(operands.w) >> vec3<u32>(0u, 8u, 16u)) & vec3<u32>(0xffu));
    let x = (a - ((zero_points << 16u) >> 16u)) << vec4<u32>(20u);
    let y = (b - (zero_points >> 16u)) << vec4<u32>(20u);
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let one = rescale(x[lane], operands.x, shifts.x);
        let other = rescale(y[lane], operands.y, shifts.y);
        let sum = one + select(other, -other, (operands.w >> 24u) == 1u);
        let steps = rescale(sum, result.x, shifts.z);
        codes[lane] = clamp(steps, bounds.z - bounds.y, bounds.w - bounds.y) + bounds.y;
    }
    return codes;
}
