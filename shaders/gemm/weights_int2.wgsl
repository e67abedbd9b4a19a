// Weights of 2 bits, sixteen along k per word, in the order of gemm/weight_panels.wgsl,
// zero beyond k and n, then a table per column:
//
//     [panel][row][column of a quad][quad]           u32     byte i holds codes i, i + 4, i + 8, i + 12, low to high
//     [batch][column, padded to 4]                   Σ (w - v), v
//
// Codes are stored as 0 … 3: int2 plus 2, as are their zero points. A shift and a mask make four int8 in the order of k.
//# params columns_at

@group(0) @binding(2) var<storage, read> weight: array<u32>;

alias PackedWeight = u32;

fn expand_weight(packed: PackedWeight) -> vec4<u32> {
    return (vec4<u32>(packed) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u);
}

fn weight_column(index: u32) -> vec2<i32> {
    let at = params.columns_at + 2u * index;
    return vec2<i32>(bitcast<i32>(weight[at]), bitcast<i32>(weight[at + 1u]));
}
