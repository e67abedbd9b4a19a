// Addition: saturate(round_ties_even(fma(last, r_last, fma(first, r_first, c)))), the sum of ONNX Runtime's QLinearAdd. r is an
// operand's scale over the output's. c collects the zero points. Twin: reference/binary.rs.
//# import math/float_multiple_add
//# import elementwise/guessed_codes

// operands: r_a, 1 if a is added first, r_b, -. result: c, bound of a guess's error (all f32 bits), least and greatest code.
fn add_codes(a: vec4<i32>, b: vec4<i32>, operands: vec4<u32>, result: vec4<u32>) -> vec4<i32> {
    let ratios = bitcast<vec4<f32>>(operands);
    let bounds = bitcast<vec4<i32>>(result);
    let guess = vec4<f32>(a) * ratios.x + (vec4<f32>(b) * ratios.z + bitcast<f32>(result.x));
    let guessed = guess_codes(guess, vec4<f32>(bitcast<f32>(result.y)), bounds.z, bounds.w);
    var codes = guessed.codes;
    if (any(guessed.near)) {
        let a_first = operands.y == 1u;
        let first = select(b, a, a_first);
        let last = select(a, b, a_first);
        let first_ratio = select(operands.z, operands.x, a_first);
        let last_ratio = select(operands.x, operands.z, a_first);
        for (var lane = 0u; lane < 4u; lane += 1u) {
            if (guessed.near[lane]) {
                let one = f32_multiple_add(first[lane], first_ratio, result.x);
                codes[lane] = f32_round_to_i32(f32_multiple_add(last[lane], last_ratio, one));
            }
        }
    }
    return clamp(codes, bounds.zzzz, bounds.wwww);
}
