// Output stage: code = clamp(rescale(acc + bias) + zero_point). Entry: bias, multiplier, shift, -.
// `rescale` is in epilogue/rounding_*.wgsl.
//# import epilogue/entries
//# params high, low, zero_point
//# needs rescale: epilogue/rounding_fixed_*, epilogue/rounding_onnx
//# needs store_codes: epilogue/codes16, epilogue/store_codes

fn store_output(row: u32, quad: u32, entries: Entries, scale: u32, accumulator: vec4<i32>) {
    let low = bitcast<i32>(params.low) - params.zero_point;
    let high = bitcast<i32>(params.high) - params.zero_point;
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let entry = entries[lane];
        let steps = rescale(accumulator[lane] + entry.x, bitcast<u32>(entry.y), entry.z);
        codes[lane] = clamp(steps, low, high) + params.zero_point;
    }
    store_codes(row, quad, codes);
}
