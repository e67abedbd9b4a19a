// Multiplication: saturate(round_ties_even(f32(a b) · m + z_out)), each step rounded to f32, the product of ONNX Runtime's
// QLinearMul; m is s_a s_b / s_out. Twin: reference/binary.rs.
//# import math/float_bits
//# import elementwise/guessed_codes
//# import epilogue/store_codes
//# params high, low, result

// params.result: m, z_out (f32 bits), -, -.
fn store_product(row: u32, quad: u32, a: vec4<i32>, b: vec4<i32>) {
    let low = bitcast<i32>(params.low);
    let high = bitcast<i32>(params.high);
    let integers = a * b;
    let scaled = vec4<f32>(integers) * bitcast<f32>(params.result.x);
    let error = (abs(scaled) + 256.0) * 0x1p-20;            // 8 ULP of the greatest intermediate number
    let guessed = guess_codes(scaled + bitcast<f32>(params.result.y), error, low, high);
    var codes = guessed.codes;
    if (any(guessed.near)) {
        for (var lane = 0u; lane < 4u; lane += 1u) {
            let product = f32_multiply(f32_from_i32(integers[lane]), params.result.x);
            let exact = f32_round_to_i32(f32_add(product, params.result.y));
            codes[lane] = select(codes[lane], exact, guessed.near[lane]);
        }
    }
    store_codes(row, quad, clamp(codes, vec4<i32>(low), vec4<i32>(high)));
}
