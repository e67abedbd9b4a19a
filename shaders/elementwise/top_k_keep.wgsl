// The result of elementwise/top_k.wgsl and top_k_merge.wgsl for a further launch: pairs, one for each word.
//# needs ranked: elementwise/top_k, elementwise/top_k_merge
//# params parts, row_pairs, part_stride, rank_stride

@group(0) @binding(6) var<storage, read_write> kept: array<vec2<u32>>;

fn store(unit: u32, word: u32) {
    let place = (unit / params.parts) * params.row_pairs + (unit % params.parts) * params.part_stride;
    kept[place + word * params.rank_stride] = ranked(unit, word);
}
