// Weights as words, in the order drawn in the loop's file, then a table of (Σ (w - v), v) per output channel.
//# params columns_at

@group(0) @binding(2) var<storage, read> weight: array<u32>;

fn weight_column(index: u32) -> vec2<i32> {
    let at = params.columns_at + 2u * index;
    return vec2<i32>(bitcast<i32>(weight[at]), bitcast<i32>(weight[at + 1u]));
}
