// Lhs: int8 or uint8 codes, sixteen per vec4, in the reading of gemm/dot.wgsl. Sums are exact.
//# import gemm/dot
//# params lhs_groups, lhs_rows
//# needs Scales: grouped/scale_streams
//# needs four_codes: grouped/codes_*
//# needs lhs_parameter: grouped/small_inputs_combined, grouped/small_inputs_parameters
//# constants CODE_BIAS, CODE_FLIP, CODE_SUMS, FLOAT_SUMS, LHS_FLIP, LHS_ONE, LHS_SHIFT, PACKED, SHIFT_INTEGER, SHIFT_OFFSET, SHIFT_ZERO

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
    return add_dot16(sum, x, codes);
}

fn lhs_scale(row: u32, group: u32) -> vec2<u32> {
    // Half a step may lie beyond the last group.
    return lhs_parameter((row * params.lhs_groups + min(group, params.lhs_groups - 1u)) * params.lhs_rows);
}

// Σ (x - z) (q + b - v) = Σ (x - z) q + (b - v) · Σ (x - z). The sum fits i32, although its parts may wrap. With FLOAT_SUMS it
// and its parts are below 2^24, so f32 holds them exactly.
fn exact_sums(sums: vec4<i32>, codes: vec4<i32>, zero: i32, x_sum: i32, w: Scales) -> vec4<f32> {
    if (FLOAT_SUMS) {
        var value = vec4<f32>(sums);
        if (CODE_SUMS) {
            value -= f32(zero) * vec4<f32>(codes);
        }
        if (CODE_BIAS != 0) {
            value += vec4<f32>(f32(CODE_BIAS) * f32(x_sum));
        }
        return value;
    }
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
    return vec4<f32>(exact);
}

// The scale of a row, which `scaled` leaves out if LHS_ONE: the row has no other.
fn row_scale(row: u32) -> f32 {
    return bitcast<f32>(lhs_scale(row, 0u).x);
}

// The exact sum times the scales.
fn scaled(sums: vec4<i32>, lhs_sum: i32, codes: vec4<i32>, lhs: vec2<u32>, positions: u32, w: Scales) -> vec4<f32> {
    let zero = bitcast<i32>(lhs.y) - LHS_SHIFT;
    let x_sum = lhs_sum - zero * i32(positions);
    let scale = select(bitcast<f32>(lhs.x), 1.0, LHS_ONE);
    var value = exact_sums(sums, codes, zero, x_sum, w);
    if (SHIFT_ZERO && !SHIFT_INTEGER) {
        value -= w.shift * f32(x_sum);
    }
    value *= scale * w.scale;
    if (SHIFT_OFFSET) {
        value += (scale * f32(x_sum)) * w.shift;
    }
    return value;
}
