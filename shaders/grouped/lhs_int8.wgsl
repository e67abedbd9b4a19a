// Lhs: int8 or uint8 codes, sixteen per vec4, in the reading of gemm/dot.wgsl. Sums are exact.
//# import gemm/dot
//# params lhs_groups, lhs_rows
//# needs Scales: grouped/scale_streams
//# needs four_codes: grouped/codes_*
//# needs lhs_parameter: grouped/small_inputs_combined, grouped/small_inputs_parameters
//# constants CODE_BIAS, CODE_FLIP, CODE_SUMS, LHS_FLIP, LHS_SHIFT, PACKED, SHIFT_INTEGER, SHIFT_OFFSET, SHIFT_ZERO

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

alias Row = vec4<u32>;
alias Sum = i32;
alias Sums = vec4<i32>;

const PIECES: u32 = 1u;

fn load_row(at: u32) -> vec4<u32> {
    return lhs[at] ^ vec4<u32>(LHS_FLIP);
}

fn lhs_total(x: vec4<u32>) -> i32 {
    return dot16(x, ALL_ONES);
}

fn expand(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> vec4<u32> {
    let codes = vec4<u32>(
        four_codes(packed, first, lane, half, 0u), four_codes(packed, first, lane, half, 1u),
        four_codes(packed, first, lane, half, 2u), four_codes(packed, first, lane, half, 3u),
    );
    return codes ^ vec4<u32>(CODE_FLIP);
}

fn code_total(codes: vec4<u32>) -> i32 {
    return dot16(ALL_ONES, codes);
}

fn add_products(sum: i32, x: vec4<u32>, codes: vec4<u32>) -> i32 {
    return sum + dot16(x, codes);
}

fn lhs_scale(row: u32, group: u32) -> vec2<u32> {
    // Half a step may lie beyond the last group.
    return lhs_parameter((row * params.lhs_groups + min(group, params.lhs_groups - 1u)) * params.lhs_rows);
}

// Σ (x - z) (q + b - v) = Σ (x - z) q + (b - v) · Σ (x - z), then the scales. The sum fits i32, although its parts may wrap.
fn scaled(sums: vec4<i32>, lhs_sum: i32, codes: vec4<i32>, lhs: vec2<u32>, positions: u32, w: Scales) -> vec4<f32> {
    let zero = bitcast<i32>(lhs.y) - LHS_SHIFT;
    let x_sum = lhs_sum - zero * i32(positions);
    var exact = sums;
    if (CODE_SUMS) {
        exact -= zero * codes;
    }
    if (CODE_BIAS != 0) {
        exact += CODE_BIAS * x_sum;
    }
    if (SHIFT_INTEGER) {
        exact -= vec4<i32>(w.shift) * x_sum;
    }
    let scale = bitcast<f32>(lhs.x);
    var value = vec4<f32>(exact);
    if (SHIFT_ZERO && !SHIFT_INTEGER) {
        value -= w.shift * f32(x_sum);
    }
    value *= scale * w.scale;
    if (SHIFT_OFFSET) {
        value += (scale * f32(x_sum)) * w.shift;
    }
    return value;
}
