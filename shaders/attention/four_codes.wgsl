// Four codes of 4 bits from the half of a word that `quad` names, with their signs.

fn four_codes(word: u32, quad: u32) -> vec4<f32> {
    let codes = vec4<u32>(word >> (16u * (quad % 2u)));
    return vec4<f32>(bitcast<vec4<i32>>(codes << vec4<u32>(28u, 24u, 20u, 16u)) >> vec4<u32>(28u));
}
