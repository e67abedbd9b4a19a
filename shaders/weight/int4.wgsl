// Weights of 4 bits, sixteen along k per vec2, columns side by side in panels, zero beyond k and n, then a table per column:
//
//     [panel][batch or group][k / 16][column]        vec2<u32>     of a word of eight codes:  7 3 6 2 5 1 4 0  (high to low)
//     [batch][column, padded to 4]                   Σ (w - v), v
//
// Codes are stored as 0 … 15, int4 plus 8 and its zero points too, so that a mask makes four int8 of a word's low nibbles
// and a shift and a mask the next four of the high ones.

@group(0) @binding(2) var<storage, read> weight: array<vec2<u32>>;

fn load_weight(at: u32) -> vec4<u32> {
    let words = weight[at];
    return vec4<u32>(words.x, words.x >> 4u, words.y, words.y >> 4u) & vec4<u32>(0x0f0f0f0fu);
}

fn weight_column(index: u32) -> vec2<i32> {
    return bitcast<vec2<i32>>(weight[params.columns_at + index]);
}
