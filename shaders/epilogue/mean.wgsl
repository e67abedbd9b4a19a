// Output stage: code = clamp((acc + zero_point · count) / count), rounded half away from zero. Entry: -, count, -, -.
//# import epilogue/entries
//# params high, low, zero_point
//# needs store_codes: epilogue/store_codes

fn store_output(row: u32, quad: u32, entries: Entries, scale: u32, accumulator: vec4<i32>) {
    var codes = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let count = entries[lane].y;
        let sum = accumulator[lane] + params.zero_point * count;
        codes[lane] = (sum + select(-(count / 2), count / 2, sum > 0)) / count;
    }
    store_codes(row, quad, clamp(codes, vec4<i32>(bitcast<i32>(params.low)), vec4<i32>(bitcast<i32>(params.high))));
}
