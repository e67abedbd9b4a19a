// The parameters of the loops that write rows into a cache.
//# import elementwise/token_position
//# constants BITS

struct Params {
    capacity: i32,            // indices of the cache
    count: i32,               // indices of the rows
    index_words: i32,         // words of an index
    row_words: u32,           // words of the last dimension
    n: u32,                   // elements of the last dimension
    token_rows: u32,          // rows of an index
    half: u32,                // pairs of a row that are rotated
    positions: i32,           // rows of the table of angles
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

// Word `index` of a tensor without what lies beyond its row's elements, which may be anything.
fn without_padding(word: u32, index: i32) -> u32 {
    let first = u32(index) % params.row_words * (32u / BITS);
    let bits = (max(params.n, first) - first) * BITS;
    return select(word & ((1u << (bits % 32u)) - 1u), word, bits >= 32u);
}

// The index of the first row in the cache. All positions that leave no row in the cache count as one, so that nothing overflows.
fn first_index() -> i32 {
    return clamp(position[0], -params.count, params.capacity);
}
