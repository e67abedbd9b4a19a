// Weights of 4 bits, sixteen along k per vec2, in the order of gemm/weight_panels.wgsl,
// zero beyond k and n, then a table per column:
//
//     [panel][row][column of a quad][quad]           vec2<u32>     eight codes of a word, high to low: 7 3 6 2 5 1 4 0
//     [batch][column, padded to 4]                   Σ (w - v), v
//
// Codes are stored as 0 … 15: int4 plus 8, as are their zero points. A mask makes four int8 of a word's low nibbles; a shift
// and a mask make the next four of the high nibbles.
//# params columns_at

@group(0) @binding(2) var<storage, read> weight: array<vec2<u32>>;

alias PackedWeight = vec2<u32>;

fn expand_weight(packed: PackedWeight) -> vec4<u32> {
    return vec4<u32>(packed.x, packed.x >> 4u, packed.y, packed.y >> 4u) & vec4<u32>(0x0f0f0f0fu);
}

fn weight_column(index: u32) -> vec2<i32> {
    return bitcast<vec2<i32>>(weight[params.columns_at + index]);
}
