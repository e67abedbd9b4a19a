// Weights as int8, sixteen along k per vec4, in the order of gemm/weight_panels.wgsl, zero beyond k and n, then a table per column:
//
//     [panel][row][column of a quad][quad]           vec4<u32>
//     [batch][column, padded to 4]                   Σ (w - v), v      two columns per vec4
//# params columns_at

@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>;

alias PackedWeight = vec4<u32>;

fn expand_weight(packed: PackedWeight) -> vec4<u32> {
    return packed;
}

fn weight_column(index: u32) -> vec2<i32> {
    let pair = bitcast<vec4<i32>>(weight[params.columns_at + index / 2u]);
    return select(pair.xy, pair.zw, index % 2u == 1u);
}
