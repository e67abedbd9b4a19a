// Input format: int32 in dense rows; elements beyond the row read as zero.
//# params input_words, n

@group(0) @binding(1) var<storage, read> input: array<i32>;

fn load_input(row: u32, quad: u32) -> vec4<i32> {
    var values = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = quad * 4u + lane;
        if (column < params.n) {
            values[lane] = input[row * params.input_words + column];
        }
    }
    return values;
}
