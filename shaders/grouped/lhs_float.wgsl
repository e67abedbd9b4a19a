// Lhs: floats, four per vec4. grouped/lhs_float32.wgsl or grouped/lhs_float16.wgsl declares the binding.
//# needs code_values: grouped/code_values, grouped/place_values
//# needs Scales: grouped/scale_streams
//# needs four_codes: grouped/codes_*
//# constants CODE_BIAS, PACKED, SHIFT_OFFSET, SHIFT_ZERO

alias Row = vec4<f32>;
alias Sum = f32;
alias Sums = vec4<f32>;

const PIECES: u32 = 4u;

fn lhs_total(x: vec4<f32>) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

fn expand(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> vec4<f32> {
    return code_values(four_codes(packed, first, lane, half, piece));
}

fn code_total(codes: vec4<f32>) -> f32 {
    return 0.0;
}

// `dot` would be separate multiplications and additions with compilers that don't fuse them.
fn add_products(sum: f32, x: vec4<f32>, codes: vec4<f32>) -> f32 {
    return fma(x.w, codes.w, fma(x.z, codes.z, fma(x.y, codes.y, fma(x.x, codes.x, sum))));
}

fn lhs_scale(row: u32, group: u32) -> vec2<u32> {
    return vec2<u32>(0u);
}

fn row_scale(row: u32) -> f32 {
    return 1.0;
}

fn scaled(sums: vec4<f32>, lhs_sum: f32, codes: vec4<f32>, lhs: vec2<u32>, positions: u32, w: Scales) -> vec4<f32> {
    var products = sums;
    if (CODE_BIAS != 0) {
        products += vec4<f32>(f32(CODE_BIAS) * lhs_sum);
    }
    if (SHIFT_ZERO) {
        return (products - w.shift * lhs_sum) * w.scale;
    }
    if (SHIFT_OFFSET) {
        return products * w.scale + w.shift * lhs_sum;
    }
    return products * w.scale;
}
