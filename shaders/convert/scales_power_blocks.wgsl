// Parameters: a power of two per block of a row, times `unit`.
//# import math/float_bits
//# params scale_words, unit
//# constants BLOCK

@group(0) @binding(3) var<storage, read> scales: array<u32>;

const COLUMN_PARAMETERS: bool = true;

fn parameter_base(row: u32) -> u32 {
    return row * params.scale_words * 4u;
}

fn parameter(base: u32, column: u32) -> vec2<u32> {
    let at = base + column / BLOCK;
    let code = (scales[at / 4u] >> (8u * (at % 4u))) & 0xffu;
    let power = select(code << 23u, 1u << 22u, code == 0u);
    return vec2<u32>(select(f32_multiply(power, params.unit), 0x7fc00000u, code == 255u), 0u);
}
