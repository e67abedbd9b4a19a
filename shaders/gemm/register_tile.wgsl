// Products of int8 rows with quads of columns, sixteen along k.
//
// Loops over words and quads are unrolled by hand, because some drivers do not unroll nested loops.
//# import gemm/tile_sums
//# import gemm/weight_panels
//# import gemm/dot
//# needs Row: conv/conv, gemm/matmul
//# needs PackedWeight, expand_weight, weight: gemm/weights_*
//# constants TILE_M

// Adds the products of four codes of each row and of four columns.
fn add_word(codes: ptr<function, array<Row, TILE_M>>, word: u32, q: u32, w: vec4<u32>) {
    for (var i = 0u; i < TILE_M; i += 1u) {
        let x = (*codes)[i][word];
        sums[q * TILE_M + i] += vec4<i32>(
            dot4(x, w.x), dot4(x, w.y), dot4(x, w.z), dot4(x, w.w),
        );
    }
}

// Packed weights of the four columns of a quad, sixteen along k each.
struct PackedQuad {
    c0: PackedWeight,
    c1: PackedWeight,
    c2: PackedWeight,
    c3: PackedWeight,
}

// Reads a quad, whose address `weight_place` returns.
fn read_quad(k_row: u32, place: vec2<u32>) -> PackedQuad {
    let at = weight_at(place, k_row, 0u);
    return PackedQuad(weight[at], weight[at + place.y], weight[at + place.y * 2u], weight[at + place.y * 3u]);
}

// Adds the products with the columns of a quad.
fn add_quad(codes: ptr<function, array<Row, TILE_M>>, q: u32, packed: PackedQuad) {
    let w0 = expand_weight(packed.c0);
    let w1 = expand_weight(packed.c1);
    let w2 = expand_weight(packed.c2);
    let w3 = expand_weight(packed.c3);
    add_word(codes, 0u, q, vec4<u32>(w0.x, w1.x, w2.x, w3.x));
    add_word(codes, 1u, q, vec4<u32>(w0.y, w1.y, w2.y, w3.y));
    add_word(codes, 2u, q, vec4<u32>(w0.z, w1.z, w2.z, w3.z));
    add_word(codes, 3u, q, vec4<u32>(w0.w, w1.w, w2.w, w3.w));
}
