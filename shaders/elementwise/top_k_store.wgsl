// The result of elementwise/top_k.wgsl and top_k_merge.wgsl: elements and their indices, where a unit is a row. A word holds
// INPUT_LANES elements; words that pad a row are 0.
//# import convert/load_element
//# needs ranked: elementwise/top_k, elementwise/top_k_merge
//# constants INPUT_BITS
//# params k, words

@group(0) @binding(6) var<storage, read_write> values: array<u32>;
@group(0) @binding(7) var<storage, read_write> indices: array<u32>;

fn store(row: u32, word: u32) {
    var bits = 0u;
    for (var lane = 0u; lane < INPUT_LANES; lane += 1u) {
        let rank = word * INPUT_LANES + lane;
        if (rank < params.k) {
            let index = ranked(row, rank).y;
            indices[row * params.k + rank] = index;
            bits |= load_element(row, index) << (lane * INPUT_BITS);
        }
    }
    values[row * params.words + word] = bits;
}
