// Output stage of 64-bit sums: code = clamp(rescale(256 · high + low + bias) + zero_point). Entry: low word of the bias,
// multiplier, shift, high word of the bias. `rescale_wide` is in epilogue/rounding_*.wgsl.
//# import epilogue/tables
//# import math/wide_sum
//# params high, low, n, zero_point
//# needs rescale_wide: epilogue/rounding_fixed_wide, epilogue/rounding_wide_onnx
//# needs store_codes: epilogue/codes16, epilogue/store_codes

fn store_sums(row: u32, quad: u32, column: vec4<u32>, scale: u32, high: vec4<i32>, low: vec4<i32>) {
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        if (quad * 4u + lane < params.n) {
            let entry = bitcast<vec4<u32>>(stage_entry(column[lane]));
            let sum = wide_add(wide_from_halves(high[lane], low[lane]), entry.wx);
            let steps = rescale_wide(sum, entry.y, bitcast<i32>(entry.z));
            let least = bitcast<i32>(params.low) - params.zero_point;
            let greatest = bitcast<i32>(params.high) - params.zero_point;
            codes[lane] = clamp(steps, least, greatest) + params.zero_point;
        }
    }
    store_codes(row, quad, codes);
}
