// Parameters: a scale per block of a row, times `unit`. A scale is a power of two or, if E4M3, a small float.
//# import math/float_bits
//# params scale_words, unit
//# constants BLOCK, E4M3

@group(0) @binding(3) var<storage, read> scales: array<u32>;

const COLUMN_PARAMETERS: bool = true;

fn parameter_base(row: u32) -> u32 {
    return row * params.scale_words * 4u;
}

fn parameter(base: u32, column: u32) -> vec2<u32> {
    let at = base + column / BLOCK;
    let code = (scales[at / 4u] >> (8u * (at % 4u))) & 0xffu;
    var scale = select(code << 23u, 1u << 22u, code == 0u);
    var is_nan = code == 255u;
    if (E4M3) {
        let field = (code >> 3u) & 15u;
        let fraction = code & 7u;
        let shift = (countLeadingZeros(fraction) - 28u) & 31u;
        let small = select(((121u - shift) << 23u) | ((fraction << (shift + 20u)) & 0x7fffffu), 0u, fraction == 0u);
        let magnitude = select(((field + 120u) << 23u) | (fraction << 20u), small, field == 0u);
        scale = ((code & 0x80u) << 24u) | magnitude;
        is_nan = (code & 0x7fu) == 0x7fu;
    }
    return vec2<u32>(select(f32_multiply(scale, params.unit), 0x7fc00000u, is_nan), 0u);
}
