// Multiplication: saturate(round_ties_even((s_a a) (s_b b) / s_out) + z_out): dequantize, multiply, quantize. Each step is one
// correctly rounded f32 operation, done in integers. Twin: reference/binary.rs.
//# import math/nearest_step
//# import epilogue/store_codes
//# params high, low, operands, result, zero_point

// params.operands: s_a (f32 bits), -, s_b, -. params.result: s_out (f32 bits), -, -, -.
fn store_product(row: u32, quad: u32, a: vec4<i32>, b: vec4<i32>) {
    let low = bitcast<i32>(params.low) - params.zero_point;
    let high = bitcast<i32>(params.high) - params.zero_point;
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let x = f32_multiple(a[lane], params.operands.x);
        let y = f32_multiple(b[lane], params.operands.z);
        codes[lane] = clamp(quotient_step(f32_multiply(x, y), params.result.x), low, high) + params.zero_point;
    }
    store_codes(row, quad, codes);
}
