// The uniform block of attention, and the positions of a cache that queries see.

struct Params {
    tokens: i32,
    heads: u32,
    cache_heads: u32,
    group: u32,               // heads that read one head of the cache
    capacity: i32,
    window: i32,              // positions that a query sees, its own included; 0 for all
    causal: u32,
    slices: u32,              // invocations or workgroups that take blocks of positions in turn
    row_blocks: u32,          // blocks of rows for a head of the cache
    d: u32,                   // elements of a query and a key
    value_d: u32,
    scale: u32,               // f32 bits
    soft_cap: u32,            // f32 bits
    mask_head: u32,           // numbers of the mask from one head to the next, 0 if heads share it
    mask_token: u32,          // the same for queries
    code_words: u32,          // words of a query's codes, if the output is quantized
    low: i32,                 // least and greatest code
    high: i32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// A score that is not there, and the greatest score before any.
const NO_SCORE: f32 = -3.4028234e38;
const LEAST_SCORE: f32 = -3.0e38;

// The position of the first query, so bounded that sums with it stay in i32. All positions outside of these bounds see what the
// bounds see: capacity and window are at most half of the greater one.
fn bounded_position(position: i32) -> i32 {
    return clamp(position, -params.tokens, 0x40000000);
}

// The first position that query `token` sees, and the first beyond.
fn visible(token: i32, first: i32) -> vec2<i32> {
    let length = clamp(first + params.tokens, 0, params.capacity);
    let own = first + token;
    let end = select(length, clamp(own + 1, 0, length), params.causal != 0u);
    let start = select(0, max(own + 1 - params.window, 0), params.window > 0);
    return vec2<i32>(min(start, end), end);
}

// The place among queries and heads of row `row` of a head of the cache: query row / group, head row % group of those that read it.
fn row_place(row: u32, cache_head: u32) -> u32 {
    return row / params.group * params.heads + cache_head * params.group + row % params.group;
}
