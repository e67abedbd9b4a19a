// Parameters of elementwise/top_k.wgsl and top_k_merge.wgsl. A unit is a part of a row whose best elements are found: the whole
// row, or one of several. It owns `words` words or pairs of the result. Candidates: kernels/elementwise/top_k.rs.

struct Params {
    units: u32,
    words: u32,
    n: u32,                   // elements of a row of the source
    input_words: u32,         // words of an input row
    k: u32,                   // best elements that are asked for
    flip: u32,                // XOR of keys: all ones to find the least elements
    parts: u32,               // units of a row
    part_length: u32,         // elements of a part; the last may have fewer
    size: u32,                // a power of two: pairs of a unit that are sorted
    row_pairs: u32,           // places of a row, of the next part, and of the next rank, if the result is pairs
    part_stride: u32,
    rank_stride: u32,
    runs: u32,                // sorted runs of a row, and their length, that are merged
    length: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
