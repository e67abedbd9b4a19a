// rotated[i] = query i, turned      keys[p + j] = key row j, turned      values[p + j] = value row j
//
// One invocation owns one word: of the rows of keys, then of those of values, then of the queries. Rows of a cache may be float16, two
// in a word (BITS). The caches' other rows stay as they are.
//
// Meaning: reference/rotary_append.rs. Candidates: kernels/layout/rotary_append.rs.
//# import elementwise/rotated_pair
//# import math/float16_bits
//# import math/linear_index
//# constants BITS, GROUP_X

struct Params {
    capacity: i32,            // positions of the caches
    count: i32,               // tokens
    half: u32,                // pairs of a row that are rotated
    positions: i32,           // rows of the table of angles
    n: u32,                   // elements of a row of queries and of keys
    value_n: u32,             // elements of a row of values
    query_rows: u32,          // rows of a token
    key_rows: u32,
    value_rows: u32,
    key_row_words: u32,       // words of a row of the cache
    value_row_words: u32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<f32>;
@group(0) @binding(2) var<storage, read> new_keys: array<f32>;
@group(0) @binding(4) var<storage, read> table: array<f32>;
@group(0) @binding(5) var<storage, read> new_values: array<f32>;
@group(0) @binding(6) var<storage, read_write> keys: array<u32>;
@group(0) @binding(7) var<storage, read_write> values: array<u32>;
@group(0) @binding(8) var<storage, read_write> rotated: array<f32>;

// The new rows.
const KEYS: u32 = 0u;
const VALUES: u32 = 1u;
const QUERIES: u32 = 2u;

fn given(rows: u32, index: u32) -> f32 {
    if (rows == KEYS) {
        return new_keys[index];
    }
    if (rows == VALUES) {
        return new_values[index];
    }
    return queries[index];
}

// An element as it is stored: those of keys and queries are rotated.
fn made(rows: u32, index: u32) -> f32 {
    let mine = given(rows, index);
    let column = index % params.n;
    if (rows == VALUES || column >= 2u * params.half) {
        return mine;
    }
    let token_rows = select(params.query_rows, params.key_rows, rows == KEYS);
    let element = rotated_element(index, column, index / params.n / token_rows);
    let other = given(rows, element.partner);
    return mine * table[element.cosine] + select(-other, other, element.is_second) * table[element.cosine + params.half];
}

// A word of rows of n elements: one number, or two of float16. Beyond a row's end there is 0.
fn row_word(rows: u32, word: u32, row_words: u32, n: u32) -> u32 {
    let column = word % row_words * (32u / BITS);
    if (column >= n) {
        return 0u;
    }
    let index = word / row_words * n + column;
    let bits = bitcast<u32>(made(rows, index));
    if (BITS == 32u) {
        return bits;
    }
    let has_second = column + 1u < n;
    let second = bitcast<u32>(made(rows, select(index, index + 1u, has_second)));
    return f16_from_f32(bits) | (select(0u, f16_from_f32(second), has_second) << 16u);
}

// The place of a word of new rows in the cache; beyond its end for rows that fall outside.
fn place(word: u32, token_words: u32) -> i32 {
    // All positions that leave no row in the cache count as one, so that nothing overflows.
    let index = clamp(position[0], -params.count, params.capacity) + i32(word / token_words);
    if (index < 0 || index >= params.capacity) {
        return -1;
    }
    return index * i32(token_words) + i32(word % token_words);
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let word = linear_group(group, groups) * GROUP_X + thread;
    let tokens = u32(params.count);
    let key_words = params.key_rows * params.key_row_words;
    let value_words = params.value_rows * params.value_row_words;
    if (word < tokens * key_words) {
        let at = place(word, key_words);
        if (at >= 0) {
            keys[at] = row_word(KEYS, word, params.key_row_words, params.n);
        }
        return;
    }
    let value_word = word - tokens * key_words;
    if (value_word < tokens * value_words) {
        let at = place(value_word, value_words);
        if (at >= 0) {
            values[at] = row_word(VALUES, value_word, params.value_row_words, params.value_n);
        }
        return;
    }
    let element = value_word - tokens * value_words;
    if (element < tokens * params.query_rows * params.n) {
        rotated[element] = made(QUERIES, element);
    }
}
